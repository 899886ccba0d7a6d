// The config.json of published models, key for key as far as known (published/*.json: a family's
// common keys and what each model changes): each is accepted, gives the known shape and number of
// parameters, and is refused by name with any key that would change what it computes.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "model/checkpoint/config_file.hpp"
#include "model/families/family.hpp"
#include "shapes_of.hpp"
#include "tests/source_dir.hpp"

namespace factflow {
namespace {

using nlohmann::json;

struct Published {
  std::string name, family;
  json config, expected;
};

std::vector<Published> published_configs() {
  std::vector<Published> all;
  const std::filesystem::path folder =
      std::filesystem::path(source_dir()) / "tests/model/published";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const json file = json::parse(std::ifstream(entry.path()));
    for (const auto& [name, model] : file.at("models").items()) {
      json config = file.at("common");
      config.update(model.at("config"));
      all.push_back({name, file.at("family"), config, model.at("expect")});
    }
  }
  return all;
}

const json& config_of(const std::string& name) {
  static const std::vector<Published> all = published_configs();
  for (const Published& one : all)
    if (one.name == name) return one.config;
  throw std::out_of_range(name);
}

// Non-finite numbers as Python's json writes them; the fixtures have them as transformers 5 does.
std::string as_python_writes(const json& config) {
  std::string text = config.dump();
  const std::string theirs = R"({"__float__":"Infinity"})";
  for (size_t at = text.find(theirs); at != std::string::npos; at = text.find(theirs))
    text.replace(at, theirs.size(), "Infinity");
  return text;
}

Architecture read(const json& config) {
  const Architecture architecture =
      read_architecture(parse_config(config.dump(), "config.json"), "config.json");
  read_architecture(parse_config(as_python_writes(config), "config.json"), "config.json");
  return architecture;
}

int heads_or_channels(const Architecture& architecture) {
  return architecture.channels() > 0 ? architecture.channels() : attention_of(architecture).heads;
}

TEST(PublishedConfigs, AreUnderstood) {
  const std::vector<Published> all = published_configs();
  EXPECT_GT(all.size(), 60U);
  for (const Published& one : all) {
    SCOPED_TRACE(one.name);
    Architecture architecture;
    ASSERT_NO_THROW(architecture = read(one.config));
    EXPECT_EQ(architecture.family, one.family);
    EXPECT_EQ(architecture.layers, one.expected.at("layers"));
    EXPECT_EQ(architecture.hidden, one.expected.at("hidden"));
    EXPECT_EQ(architecture.vocabulary, one.expected.at("vocabulary"));
    EXPECT_EQ(heads_or_channels(architecture), one.expected.at("heads"));
    if (one.expected.contains("parameters")) {
      EXPECT_EQ(family_named(architecture.family).tensors(architecture).parameters(),
                one.expected.at("parameters"));
    }
  }
}

TEST(PublishedConfigs, RefuseAnyKeyThatIsNotKnown) {
  for (const Published& one : published_configs()) {
    json config = one.config;
    config["logit_softcapping"] = 30.0;
    try {
      read(config);
      ADD_FAILURE() << one.name;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("config.json: key logit_softcapping: "))
          << one.name;
    }
  }
}

TEST(PublishedConfigs, RotaryEmbeddings) {
  const Rotary llama = attention_of(read(config_of("meta-llama/Llama-3.2-1B"))).rotary;
  EXPECT_EQ(llama.scaling, Rotary::Scaling::kLlama3);
  EXPECT_EQ(llama.factor, 32.0);
  EXPECT_EQ(llama.theta, 500000.0);
  EXPECT_EQ(llama.original_max_positions, 8192);
  const Rotary again =
      attention_of(read(config_of("Llama-3.2-1B saved again by transformers 5"))).rotary;
  EXPECT_EQ(again.scaling, llama.scaling);
  EXPECT_EQ(again.factor, llama.factor);
  EXPECT_EQ(again.theta, llama.theta);
  EXPECT_EQ(attention_of(read(config_of("EleutherAI/pythia-70m"))).rotary.dimensions, 16);
  EXPECT_EQ(
      attention_of(read(config_of("pythia-70m saved again by transformers 5"))).rotary.dimensions,
      16);
  EXPECT_EQ(
      attention_of(read(config_of("Qwen2.5-1.5B saved again by transformers 5"))).rotary.theta,
      1e6);
}

TEST(PublishedConfigs, SlidingWindows) {
  EXPECT_THAT(sliding_windows_of(read(config_of("mistralai/Mistral-7B-v0.1"))),
              testing::Each(4096));
  EXPECT_THAT(sliding_windows_of(read(config_of("mistralai/Mistral-7B-v0.3"))), testing::Each(0));
  json unmentioned = config_of("mistralai/Mistral-7B-v0.3");
  unmentioned.erase("sliding_window");
  EXPECT_THAT(sliding_windows_of(read(unmentioned)), testing::Each(4096));
  EXPECT_THAT(sliding_windows_of(read(config_of("Qwen/Qwen2-0.5B"))), testing::Each(0));
}

// falcon-mamba-7b says expand 16 and means intermediate_size 8192; Mamba-Codestral says
// norm_before_gate, which nobody reads.
TEST(PublishedConfigs, StateSpaceModels) {
  const MambaShape falcon = mamba_of(read(config_of("tiiuae/falcon-mamba-7b")));
  EXPECT_EQ(falcon.inner, 8192);
  EXPECT_EQ(falcon.time_step_rank, 256);
  EXPECT_TRUE(falcon.normalise_parameters);
  const Mamba2Shape codestral = mamba2_of(read(config_of("mistralai/Mamba-Codestral-7B-v0.1")));
  EXPECT_EQ(codestral.groups, 8);
  EXPECT_EQ(codestral.norm_group, 1024);
  EXPECT_FALSE(codestral.norm_before_gate);
  EXPECT_FALSE(read(config_of("TRI-ML/mamba-7b-rw")).tied_head);
  EXPECT_TRUE(read(config_of("state-spaces/mamba2-130m")).mamba_ssm);
}

struct Change {
  const char* model;
  const char* change;  // merged into the configuration
  const char* text;    // what the error says
};

TEST(PublishedConfigs, AreRefusedWithWhatIsNotSupported) {
  const Change changes[] = {
      {"meta-llama/Llama-3.2-1B", R"({"rope_scaling": {"rope_type": "dynamic"}})",
       "rope_scaling.rope_type: supported are"},
      {"meta-llama/Llama-2-7b-hf", R"({"rope_scaling": {"type": "ntk", "factor": 2.0}})",
       "rope_scaling.rope_type: supported are"},
      {"meta-llama/Llama-2-7b-hf", R"({"attention_bias": "qkv"})",
       "attention_bias: expected true or false"},
      {"meta-llama/Llama-2-7b-hf",
       R"({"quantization_config": {"quant_method": "gptq", "bits": 4}})",
       "quantization_config: says that the weights are quantised"},
      {"meta-llama/Llama-2-7b-hf", R"({"compression_config": {"format": "pack-quantized"}})",
       "compression_config: says that the weights are quantised"},
      {"HuggingFaceTB/SmolLM-135M", R"({"rope_interleaved": true})",
       "rope_interleaved: only false is supported"},
      {"Qwen/Qwen2.5-0.5B", R"({"use_mrope": true})", "use_mrope: only false is supported"},
      {"mistralai/Mistral-7B-v0.3", R"({"num_local_experts": 8})",
       "num_local_experts: only 0 is supported"},
      {"mistralai/Mistral-7B-v0.1", R"({"layer_types": ["full_attention"]})",
       "layer_types: expected a list of 32 layers"},
      {"EleutherAI/pythia-70m", R"({"hidden_act": "quick_gelu"})", "hidden_act: supported are"},
      {"openai-community/gpt2", R"({"scale_attn_weights": false})",
       "scale_attn_weights: only true is supported"},
      {"openai-community/gpt2", R"({"pruned_heads": {"0": [1]}})",
       "pruned_heads: only {} is supported"},
      {"state-spaces/mamba-130m-hf", R"({"hidden_act": "relu"})",
       "hidden_act: only \"silu\" is supported"},
      {"state-spaces/mamba2-130m", R"({"attn_layer_idx": [9, 18]})",
       "attn_layer_idx: only [] is supported"},
      {"state-spaces/mamba2-130m", R"({"d_intermediate": 2048})",
       "d_intermediate: only 0 is supported"},
      {"mistralai/Mamba-Codestral-7B-v0.1", R"({"rms_norm": false})",
       "rms_norm: only true is supported"}};
  for (const Change& change : changes) {
    json config = config_of(change.model);
    config.update(json::parse(change.change));
    try {
      read(config);
      ADD_FAILURE() << change.change;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(change.text));
    }
  }
}

}  // namespace
}  // namespace factflow
