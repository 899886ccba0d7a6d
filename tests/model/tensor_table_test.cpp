// Checkpoints whose tensors are not what config.json promises, and the spellings that are accepted.
#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "random_checkpoint.hpp"

namespace factflow {
namespace {

using testing::HasSubstr;
using Tensors = std::map<std::string, NamedTensor>;

struct Spot {
  const char* model;
  const char* tensor;  // one that the family needs
};

// "" if the checkpoint loads.
std::string loading_error(const nlohmann::json& config, const Tensors& tensors,
                          HeadChoice head = HeadChoice::kConfigured) {
  const TemporaryDirectory directory;
  write_checkpoint(directory.path(), config, tensors);
  try {
    Network::load(std::make_shared<const Checkpoint>(Checkpoint::open(directory.path().string())),
                  at::kCPU, Precision::kFp32, {head});
  } catch (const InputError& error) {
    const std::string line = error.what();
    EXPECT_EQ(line.find('\n'), std::string::npos) << line;
    EXPECT_THAT(line, HasSubstr(directory.path().string()));
    return line;
  }
  return "";
}

std::string loading_error(const char* model, const Tensors& tensors,
                          HeadChoice head = HeadChoice::kConfigured) {
  return loading_error(small_config(model), tensors, head);
}

class BrokenTensors : public testing::TestWithParam<Spot> {
 protected:
  const char* model() const { return GetParam().model; }
  std::string name() const { return GetParam().tensor; }
  Tensors tensors_ = random_tensors(small_config(GetParam().model), 5);
};

TEST_P(BrokenTensors, AreComplete) {
  EXPECT_EQ(loading_error(model(), tensors_), "");
}

TEST_P(BrokenTensors, Missing) {
  tensors_.erase(name());
  EXPECT_THAT(loading_error(model(), tensors_),
              testing::ContainsRegex("tensor " + name() + " .* is missing"));
}

TEST_P(BrokenTensors, Misshapen) {
  tensors_[name()].shape.push_back(1);
  EXPECT_THAT(loading_error(model(), tensors_),
              HasSubstr("model.safetensors: tensor " + name() + ": expected shape ["));
}

TEST_P(BrokenTensors, Extra) {
  tensors_["experts.0.weight"] = {{2}, {1.0F, 2.0F}};
  EXPECT_THAT(
      loading_error(model(), tensors_),
      HasSubstr(
          "model.safetensors: tensor experts.0.weight [2] is not expected in this architecture"));
}

TEST_P(BrokenTensors, NotANumber) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    tensors_[name()].values.back() = bad;
    EXPECT_THAT(
        loading_error(model(), tensors_),
        HasSubstr("model.safetensors: tensor " + name() + ": 1 of " +
                  std::to_string(tensors_[name()].values.size()) + " values are NaN or infinite"));
  }
}

INSTANTIATE_TEST_SUITE_P(Families, BrokenTensors,
                         testing::Values(Spot{"gpt2", "transformer.h.1.attn.c_attn.weight"},
                                         Spot{"llama", "model.layers.2.mlp.up_proj.weight"},
                                         Spot{"mistral", "model.layers.0.self_attn.k_proj.weight"},
                                         Spot{"qwen2", "model.layers.0.self_attn.q_proj.bias"},
                                         Spot{"gpt_neox", "embed_out.weight"},
                                         Spot{"mamba", "backbone.layers.1.mixer.A_log"},
                                         Spot{"falcon_mamba", "lm_head.weight"},
                                         Spot{"mamba2", "backbone.layers.1.mixer.dt_bias"},
                                         Spot{"mamba_ssm", "backbone.norm_f.weight"},
                                         Spot{"mamba_ssm2", "backbone.layers.2.mixer.norm.weight"}),
                         [](const auto& test) { return test.param.model; });

void rename(Tensors& tensors, const std::string& from, const std::string& to) {
  auto node = tensors.extract(from);
  ASSERT_FALSE(node.empty()) << from;
  node.key() = to;
  tensors.insert(std::move(node));
}

TEST(TensorNames, TheBaseModelAloneLeavesItsPrefixOut) {
  Tensors with = random_tensors(small_config("gpt2"), 5), without;
  for (const auto& [name, tensor] : with)
    without[name.substr(std::string("transformer.").size())] = tensor;
  EXPECT_EQ(loading_error("gpt2", without), "");
}

TEST(TensorNames, MambaSsmCallsItsEmbeddingOtherwise) {
  Tensors tensors = random_tensors(small_config("mamba_ssm"), 5);
  rename(tensors, "backbone.embeddings.weight", "backbone.embedding.weight");
  EXPECT_EQ(loading_error("mamba_ssm", tensors), "");
}

// Every tensor under its own name and without the prefix: equal or not, finite or not.
TEST(TensorNames, Transformers5CallsTheHeadOfGptNeoxAsElsewhere) {
  Tensors tensors = random_tensors(small_config("gpt_neox"), 5);
  rename(tensors, "embed_out.weight", "lm_head.weight");
  EXPECT_EQ(loading_error("gpt_neox", tensors), "");
}

TEST(TensorNames, OneTensorUnderTwoNamesIsRefused) {
  const struct {
    const char *model, *name, *other;
  } pairs[] = {{"llama", "model.embed_tokens.weight", "embed_tokens.weight"},
               {"gpt2", "transformer.h.1.ln_1.bias", "h.1.ln_1.bias"},
               {"gpt_neox", "gpt_neox.embed_in.weight", "embed_in.weight"},
               {"gpt_neox", "embed_out.weight", "lm_head.weight"},
               {"mamba", "backbone.norm_f.weight", "norm_f.weight"},
               {"mamba_ssm", "backbone.embeddings.weight", "backbone.embedding.weight"},
               {"mamba2", "backbone.embeddings.weight", "embedding.weight"}};
  for (const auto& pair : pairs)
    for (const float change : {0.0F, 1.0F, std::numeric_limits<float>::quiet_NaN()}) {
      Tensors tensors = random_tensors(small_config(pair.model), 5);
      tensors[pair.other] = tensors.at(pair.name);
      tensors[pair.other].values[0] += change;
      const std::string error = loading_error(pair.model, tensors);
      EXPECT_THAT(error, HasSubstr("are one tensor of the model under two names"));
      EXPECT_THAT(error, HasSubstr(std::string(pair.name) + " "));
      EXPECT_THAT(error, testing::ContainsRegex(std::string("(tensors|and) ") + pair.other + " "));
    }
}

// Names behind a wrapper's prefix, of the whole model.
TEST(ForeignTensors, OfAWrapperAreNamed) {
  const struct {
    const char *prefix, *who, *remedy;
  } wrappers[] = {
      {"module.", "DistributedDataParallel", "model.module.state_dict()"},
      {"_orig_mod.", "torch.compile", "model._orig_mod.state_dict()"},
      {"module._orig_mod.", "torch.compile", "state_dict()"},
      {"_orig_mod.module.", "torch.compile", "state_dict()"},
      {"base_model.model.", "peft", "merge_and_unload"},
      {"_fsdp_wrapped_module.", "FSDP", "the full state dict"},
      {"model.", "begins, as those of the whole model do, with 'model.'", "take the prefix off"},
      {"language_model.", "with 'language_model.'", "take the prefix off"}};
  for (const char* model : {"llama", "gpt2", "gpt_neox", "mamba", "mamba_ssm2"})
    for (const auto& wrapper : wrappers) {
      Tensors wrapped;
      for (auto& [name, tensor] : random_tensors(small_config(model), 5))
        wrapped[wrapper.prefix + name] = tensor;
      EXPECT_THAT(loading_error(model, wrapped),
                  testing::AllOf(HasSubstr("model.safetensors: tensor "),
                                 HasSubstr(std::string("with '") + wrapper.prefix + "'"),
                                 HasSubstr(wrapper.who), HasSubstr(wrapper.remedy)))
          << model;
    }
}

TEST(ForeignTensors, OfAWrapperUnderOlderNames) {
  Tensors wrapped;
  for (auto& [name, tensor] : random_tensors(small_config("gpt_neox"), 5))
    wrapped["module." + (name == "embed_out.weight" ? "lm_head.weight" : name)] = tensor;
  EXPECT_THAT(loading_error("gpt_neox", wrapped), HasSubstr("with 'module.'"));
}

// One name among those of a model without a wrapper is only that.
TEST(ForeignTensors, BehindAPrefixOfTheirOwnAreUnexpected) {
  Tensors tensors = random_tensors(small_config("llama"), 5);
  tensors["module.model.norm.weight"] = tensors.at("model.norm.weight");
  EXPECT_THAT(loading_error("llama", tensors),
              HasSubstr("tensor module.model.norm.weight [16] is not expected"));
}

TEST(ForeignTensors, OfAdaptersAndQuantisedWeightsAreNamed) {
  const struct {
    const char *name, *text;
  } marks[] = {
      {"model.layers.0.self_attn.q_proj.lora_A.weight", "belongs to a LoRA adapter"},
      {"base_model.model.model.layers.0.mlp.up_proj.lora_B.default.weight", "LoRA adapter"},
      {"model.layers.0.self_attn.q_proj.base_layer.weight", "is a weight below an adapter"},
      {"model.layers.0.self_attn.q_proj.qweight", "GPTQ or AWQ"},
      {"model.layers.0.self_attn.q_proj.qzeros", "GPTQ or AWQ"},
      {"model.layers.0.self_attn.q_proj.scales", "scales of quantised weights"},
      {"model.layers.0.self_attn.q_proj.g_idx", "GPTQ"},
      {"model.layers.0.self_attn.q_proj.weight.absmax", "bitsandbytes"},
      {"model.layers.0.self_attn.q_proj.weight.quant_map", "bitsandbytes"},
      {"model.layers.0.self_attn.q_proj.weight.quant_state.bitsandbytes__nf4", "bitsandbytes"},
      {"model.layers.0.self_attn.q_proj.SCB", "bitsandbytes"},
      {"model.layers.0.self_attn.q_proj.weight_packed", "compressed-tensors"},
      {"model.layers.0.self_attn.q_proj.weight_scale", "scales of quantised weights"},
      {"model.layers.0.self_attn.q_proj.weight_scale_inv", "FP8"},
      {"model.layers.0.self_attn.q_proj.biases", "MLX"},
      {"model.layers.0._orig_mod.self_attn.q_proj.weight", "torch.compile"}};
  for (const auto& mark : marks)
    for (const bool beside : {true, false}) {
      Tensors tensors = random_tensors(small_config("llama"), 5);
      if (!beside) tensors.erase("model.layers.0.self_attn.q_proj.weight");
      tensors[mark.name] = {{2}, {1.0F, 2.0F}};
      EXPECT_THAT(loading_error("llama", tensors),
                  testing::AllOf(HasSubstr(std::string("model.safetensors: tensor ") + mark.name +
                                           " F32 [2] "),
                                 HasSubstr(mark.text), HasSubstr("; ")));
    }
}

TEST(ClassDefaults, AreNamedWhereTheyDoNotFitTheTensors) {
  nlohmann::json config = small_config("llama");
  const Tensors tensors = random_tensors(config, 5);
  config.erase("hidden_size");
  EXPECT_THAT(loading_error(config, tensors),
              HasSubstr("config.json leaves to the class's defaults: hidden_size (4096)"));
  config = small_config("llama");
  config.erase("num_hidden_layers");
  EXPECT_THAT(loading_error(config, tensors),
              testing::AllOf(HasSubstr("is missing"), HasSubstr("num_hidden_layers (32)")));
}

struct HeadOf {
  const char *model, *embedding, *head, *key;
};

class Heads : public testing::TestWithParam<HeadOf> {
 protected:
  std::string error(HeadChoice choice = HeadChoice::kConfigured) const {
    return loading_error(config_, tensors_, choice);
  }
  nlohmann::json tied(bool yes) const {
    nlohmann::json config = small_config(GetParam().model);
    config[GetParam().key] = yes;
    return config;
  }
  nlohmann::json config_ = tied(true);
  Tensors tensors_ = random_tensors(config_, 5);
  NamedTensor& embedding() { return tensors_.at(GetParam().embedding); }
  NamedTensor& head() { return tensors_[GetParam().head]; }
};

TEST_P(Heads, MayBeThereAsACopyOfTheEmbedding) {
  head() = embedding();
  EXPECT_EQ(error(), "");
}

TEST_P(Heads, ThatDiffersIsAnErrorUntilTheUserChooses) {
  for (const float change : {0.5F, std::numeric_limits<float>::quiet_NaN()}) {
    head() = embedding();
    head().values[3] += change;
    EXPECT_THAT(error(), testing::AllOf(HasSubstr(GetParam().embedding), HasSubstr(GetParam().head),
                                        HasSubstr(GetParam().key), HasSubstr("head: own")));
    EXPECT_EQ(error(HeadChoice::kEmbedding), "");
    EXPECT_EQ(error(HeadChoice::kOwn) == "", change == 0.5F);
  }
}

TEST_P(Heads, OfAnotherShapeIsAnErrorUntilTheUserChooses) {
  head() = {{2}, {1.0F, 2.0F}};
  EXPECT_THAT(error(), testing::AllOf(HasSubstr(GetParam().embedding), HasSubstr(GetParam().head)));
  EXPECT_EQ(error(HeadChoice::kEmbedding), "");
  EXPECT_THAT(error(HeadChoice::kOwn), HasSubstr("expected shape"));
}

TEST_P(Heads, ThatIsMissingMayBeReplacedByTheEmbedding) {
  config_ = tied(false);
  EXPECT_THAT(error(), testing::AllOf(HasSubstr(GetParam().embedding), HasSubstr(GetParam().head),
                                      HasSubstr("is missing"), HasSubstr("head: embedding")));
  EXPECT_EQ(error(HeadChoice::kEmbedding), "");
  EXPECT_THAT(error(HeadChoice::kOwn), HasSubstr("is missing"));
}

INSTANTIATE_TEST_SUITE_P(
    Families, Heads,
    testing::Values(
        HeadOf{"gpt2", "transformer.wte.weight", "lm_head.weight", "tie_word_embeddings"},
        HeadOf{"llama", "model.embed_tokens.weight", "lm_head.weight", "tie_word_embeddings"},
        HeadOf{"mistral", "model.embed_tokens.weight", "lm_head.weight", "tie_word_embeddings"},
        HeadOf{"qwen2", "model.embed_tokens.weight", "lm_head.weight", "tie_word_embeddings"},
        HeadOf{"gpt_neox", "gpt_neox.embed_in.weight", "embed_out.weight", "tie_word_embeddings"},
        HeadOf{"mamba", "backbone.embeddings.weight", "lm_head.weight", "tie_word_embeddings"},
        HeadOf{"falcon_mamba", "backbone.embeddings.weight", "lm_head.weight",
               "tie_word_embeddings"},
        HeadOf{"mamba2", "backbone.embeddings.weight", "lm_head.weight", "tie_word_embeddings"},
        HeadOf{"mamba_ssm", "backbone.embeddings.weight", "lm_head.weight", "tie_embeddings"},
        HeadOf{"mamba_ssm2", "backbone.embeddings.weight", "lm_head.weight", "tie_embeddings"}),
    [](const auto& test) { return test.param.model; });

TEST(Head, TheChosenOneIsUsed) {
  const TemporaryDirectory directory;
  Tensors tensors = random_tensors(small_config("qwen2"), 5);
  tensors["lm_head.weight"] = tensors.at("model.embed_tokens.weight");
  tensors["lm_head.weight"].values[3] += 1;
  write_checkpoint(directory.path(), small_config("qwen2"), tensors);
  const auto checkpoint =
      std::make_shared<const Checkpoint>(Checkpoint::open(directory.path().string()));
  const auto tied = [&](HeadChoice head) {
    return Network::load(checkpoint, at::kCPU, Precision::kFp32, {head})->architecture().tied_head;
  };
  EXPECT_TRUE(tied(HeadChoice::kEmbedding));
  EXPECT_FALSE(tied(HeadChoice::kOwn));
}

NamedTensor causal_mask(int n) {
  NamedTensor mask{{1, 1, n, n}, {}};
  for (int row = 0; row < n; ++row)
    for (int column = 0; column < n; ++column) mask.values.push_back(column <= row ? 1.0F : 0.0F);
  return mask;
}

TEST(OldBuffers, ThatSayWhatIsComputedAnywayMayBeThere) {
  Tensors tensors = random_tensors(small_config("gpt2"), 5);
  tensors["transformer.h.0.attn.bias"] = causal_mask(12);
  tensors["h.2.attn.masked_bias"] = {{}, {-1e4F}};
  tensors["h.1.attn.masked_bias"] = {{}, {-9984.0F}};  // -1e4 in bfloat16
  EXPECT_EQ(loading_error("gpt2", tensors), "");
  tensors = random_tensors(small_config("gpt_neox"), 5);
  tensors["gpt_neox.layers.0.attention.bias"] = causal_mask(5);
  tensors["gpt_neox.layers.1.attention.masked_bias"] = {{},
                                                        {-std::numeric_limits<float>::infinity()}};
  tensors["gpt_neox.layers.1.attention.rotary_emb.inv_freq"] = {{1}, {1.0F}};
  EXPECT_EQ(loading_error("gpt_neox", tensors), "");
  tensors = random_tensors(small_config("llama"), 5);
  tensors["model.layers.1.self_attn.rotary_emb.inv_freq"] = {{2}, {1.0F, 0.09998F}};  // theta 100
  EXPECT_EQ(loading_error("llama", tensors), "");
}

// A checkpoint in one shard, whose index lists what `listed` says.
std::string sharded_error(const char* model, const Tensors& tensors,
                          const std::vector<std::string>& listed) {
  const TemporaryDirectory directory;
  write_checkpoint(directory.path(), small_config(model), tensors);
  const char* shard = "model-00001-of-00001.safetensors";
  std::filesystem::rename(directory / "model.safetensors", directory / shard);
  nlohmann::json index;
  for (const std::string& name : listed) index["weight_map"][name] = shard;
  directory.write("model.safetensors.index.json", index.dump());
  try {
    Network::load(std::make_shared<const Checkpoint>(Checkpoint::open(directory.path().string())),
                  at::kCPU, Precision::kFp32);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

std::vector<std::string> names_of(const Tensors& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  return names;
}

TEST(IndexAndShards, MayDisagreeAboutWhatNothingReads) {
  const struct {
    const char *model, *name;
    NamedTensor value;
  } buffers[] = {{"llama", "model.layers.1.self_attn.rotary_emb.inv_freq", {{2}, {1.0F, 0.1F}}},
                 {"llama", "model.rotary_emb.inv_freq", {{2}, {1.0F, 0.1F}}},
                 {"gpt2", "transformer.h.0.attn.bias", causal_mask(12)},
                 {"gpt2", "h.0.attn.masked_bias", {{}, {-1e4F}}},
                 {"gpt_neox", "gpt_neox.layers.0.attention.masked_bias", {{}, {-1e9F}}},
                 {"gpt_neox", "gpt_neox.layers.1.attention.rotary_emb.inv_freq", {{1}, {1.0F}}}};
  for (const auto& buffer : buffers) {
    SCOPED_TRACE(buffer.name);
    Tensors tensors = random_tensors(small_config(buffer.model), 5);
    std::vector<std::string> listed = names_of(tensors);
    tensors[buffer.name] = buffer.value;
    EXPECT_EQ(sharded_error(buffer.model, tensors, listed), "");
    tensors.erase(buffer.name);
    listed.emplace_back(buffer.name);
    EXPECT_EQ(sharded_error(buffer.model, tensors, listed), "");
  }
  // It must still say what is computed.
  Tensors tensors = random_tensors(small_config("llama"), 5);
  const std::vector<std::string> listed = names_of(tensors);
  tensors["model.layers.1.self_attn.rotary_emb.inv_freq"] = {{2}, {1.0F, 0.5F}};
  EXPECT_THAT(sharded_error("llama", tensors, listed), HasSubstr("differs"));
}

TEST(IndexAndShards, MayDisagreeAboutTheCopyOfATiedHead) {
  Tensors tensors = random_tensors(small_config("gpt2"), 5);
  std::vector<std::string> listed = names_of(tensors);
  tensors["lm_head.weight"] = tensors.at("transformer.wte.weight");
  EXPECT_EQ(sharded_error("gpt2", tensors, listed), "");
  tensors["lm_head.weight"].values[0] += 1;
  EXPECT_THAT(sharded_error("gpt2", tensors, listed), HasSubstr("lm_head.weight"));
  tensors.erase("lm_head.weight");
  listed.emplace_back("lm_head.weight");
  EXPECT_EQ(sharded_error("gpt2", tensors, listed), "");
}

TEST(IndexAndShards, MustAgreeAboutWeights) {
  const Tensors tensors = random_tensors(small_config("llama"), 5);
  std::vector<std::string> listed = names_of(tensors);
  listed.pop_back();
  EXPECT_THAT(sharded_error("llama", tensors, listed), HasSubstr("which weight_map does not list"));
  Tensors fewer = tensors;
  fewer.erase(std::prev(fewer.end()));
  EXPECT_THAT(sharded_error("llama", fewer, names_of(tensors)),
              HasSubstr("which does not hold it"));
  Tensors more = tensors;
  more["model.layers.0.extra.weight"] = {{1}, {1.0F}};
  EXPECT_THAT(sharded_error("llama", more, names_of(tensors)), HasSubstr("does not list"));
}

TEST(OldBuffers, ThatSaySomethingElseAreRefused) {
  NamedTensor two_ways = causal_mask(12), banded = causal_mask(12);
  two_ways.values[1] = 1.0F;
  banded.values[12 * 11] = 0.0F;
  const struct {
    const char *model, *name;
    NamedTensor value;
    const char* text;
  } buffers[] = {
      {"gpt2", "transformer.h.0.attn.bias", two_ways, "is no causal mask"},
      {"gpt2", "h.0.attn.bias", banded, "is no causal mask"},
      {"gpt2", "transformer.h.0.attn.bias", {{3}, {1.0F, 1.0F, 1.0F}}, "expected a causal mask"},
      {"gpt2", "transformer.h.3.attn.bias", causal_mask(12), "is not expected"},
      {"gpt2", "transformer.h.0.attn.masked_bias", {{}, {0.0F}}, "expected one number of -10000"},
      {"gpt_neox", "gpt_neox.layers.0.attention.bias", two_ways, "is no causal mask"},
      {"gpt_neox", "gpt_neox.layers.0.attention.rotary_emb.inv_freq", {{1}, {0.9F}}, "differs"},
      {"llama", "model.layers.1.self_attn.rotary_emb.inv_freq", {{2}, {1.0F, 0.01F}}, "differs"},
      {"qwen2",
       "model.layers.1.self_attn.rotary_emb.inv_freq",
       {{2}, {1.0F, std::numeric_limits<float>::quiet_NaN()}},
       "differs"}};
  for (const auto& buffer : buffers) {
    Tensors tensors = random_tensors(small_config(buffer.model), 5);
    tensors[buffer.name] = buffer.value;
    EXPECT_THAT(loading_error(buffer.model, tensors),
                testing::AllOf(HasSubstr(buffer.name), HasSubstr(buffer.text)));
  }
}

}  // namespace
}  // namespace factflow
