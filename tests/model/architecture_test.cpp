// config.json of every family: what is understood, and that nothing that matters is passed over.
#include "model/architecture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "random_checkpoint.hpp"
#include "shapes_of.hpp"

namespace factflow {
namespace {

using nlohmann::json;
using testing::HasSubstr;

struct Refusal {
  const char* model;   // small_config
  const char* change;  // merged into the configuration; null removes a key
  const char* text;    // what the error says after the file's name
};

json changed(const Refusal& refusal) {
  json config = small_config(refusal.model);
  config.merge_patch(json::parse(refusal.change));
  return config;
}

class Refused : public testing::TestWithParam<Refusal> {};

TEST_P(Refused, WithFileKeyAndReason) {
  try {
    read_architecture(changed(GetParam()), "some/config.json");
    FAIL() << "accepted " << GetParam().change;
  } catch (const InputError& error) {
    const std::string line = error.what();
    EXPECT_THAT(line, testing::StartsWith("some/config.json: key "));
    EXPECT_THAT(line, testing::HasSubstr(GetParam().text));
    EXPECT_EQ(line.find('\n'), std::string::npos);
  }
}

const Refusal kGeneral[] = {
    {"gpt2", R"({"model_type": "gpt3"})",
     "model_type: unknown model family 'gpt3'; supported families: gpt2, llama, mistral, qwen2, "
     "gpt_neox, qwen3, olmo2, olmo3, gemma2, gemma3_text, phi3, smollm3, granite, gptj, opt"},
    {"gpt2", R"({"model_type": "bert"})", "model_type: unknown model family 'bert'; supported"},
    {"gpt2", R"({"model_type": "GPT-2"})",
     "model_type: unknown model family 'GPT-2', did you mean 'gpt2'?; supported families: "},
    {"gpt2", R"({"model_type": "internlm", "auto_map": {"AutoModel": "modeling.InternLM"}})",
     "unknown model family 'internlm', which code of its own computes (auto_map); supported"},
    {"llama", R"({"model_type": null})", "model_type: is missing"},
    {"llama", R"({"model_type": 7})", "model_type: expected a text, found 7"},
    {"llama", R"({"hidden_size": "16"})", "hidden_size: expected an integer, found \"16\""},
    {"llama", R"({"hidden_size": -16})", "hidden_size: expected 1 to 16777216, found -16"},
    {"llama", R"({"num_hidden_layers": 1000000000})",
     "num_hidden_layers: expected 1 to 4096, found 1000000000"},
    {"llama", R"({"vocab_size": 4294967297})", "vocab_size: expected 1 to 16777216"},
    {"llama", R"({"mixture": 8})",
     "mixture: is not known to this family and might change what it computes (value 8)"},
    {"llama", R"({"quantization_config": {"quant_method": "gptq", "bits": 4}})",
     "quantization_config: says that the weights are quantised ('gptq', 4 bits), which is not "
     "supported; use the checkpoint that they were made from"},
    {"llama", R"({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true}})",
     "are quantised ('bitsandbytes', load_in_4bit), which"},
    {"mamba", R"({"quantization_config": {"quant_method": "fp8"}})",
     "are quantised ('fp8'), which"},
    {"mistral", R"({"quantization_config": 4})", "quantization_config: says that the weights are"},
    {"llama", R"({"compression_config": {"format": "pack-quantized"}})",
     "compression_config: says that the weights are quantised"},
    {"qwen2", R"({"quantization": {"group_size": 64, "bits": 4}})",
     "quantization: says that the weights are quantised (4 bits)"},
    {"llama", R"({"auto_map": {"AutoModelForCausalLM": "modeling_flash.FlashLlama"}})",
     "auto_map: says that the model is computed by code of its own ('modeling_flash.FlashLlama'), "
     "which is not run; if it computes what transformers' own class of this model_type does, "
     "remove"},
    {"mamba2", R"({"auto_map": {"AutoConfig": "configuration_x.Config"}})", "auto_map: says that"},
    {"llama", R"({"add_cross_attention": true})", "add_cross_attention: only false is supported"},
    {"llama", R"({"rms_norm_eps": "small"})", "rms_norm_eps: expected a number"},
    {"llama", R"({"attention_bias": 1})", "attention_bias: expected true or false, found 1"}};

const Refusal kTransformers[] = {
    {"llama", R"({"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}})",
     "rope_scaling.rope_type: supported are default, linear, llama3, yarn and longrope, found "
     "'dynamic'"},
    {"llama", R"({"rope_scaling": {"type": "dynamic", "factor": 4.0}})", "found 'dynamic'"},
    {"llama", R"({"rope_scaling": {"rope_type": "linear"}})", "rope_scaling.factor: is missing"},
    {"llama", R"({"rope_scaling": {"rope_type": "linear", "factor": -2.0}})",
     "rope_scaling.factor: expected a positive number"},
    {"llama", R"({"rope_scaling": {"rope_type": "linear", "factor": 2.0, "beta_fast": 32}})",
     "rope_scaling.beta_fast: is not known"},
    {"llama",
     R"({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 1.0, "original_max_position_embeddings": 64}})",
     "rope_scaling.high_freq_factor: expected a number above low_freq_factor = 4"},
    {"llama", R"({"rope_scaling": 2.0})", "rope_scaling: expected an object"},
    {"llama", R"({"partial_rotary_factor": 0.5})",
     "partial_rotary_factor: only 1 is supported, found 0.5"},
    {"llama", R"({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}})",
     "rope_parameters.partial_rotary_factor: only 1 is supported, found 0.5"},
    {"qwen2", R"({"rope_scaling": {"type": "default", "partial_rotary_factor": 0.5}})",
     "rope_scaling.partial_rotary_factor: only 1 is supported, found 0.5"},
    {"llama", R"({"rope_scaling": {"type": "default", "factor": 2.0}})",
     "rope_scaling.factor: only 1 is supported, found 2.0"},
    {"mistral", R"({"rope_parameters": {"rope_type": "default", "attention_factor": 0.5}})",
     "rope_parameters.attention_factor: only 1 is supported, found 0.5"},
    {"llama", R"({"rope_scaling": {"type": "linear", "factor": 2.0, "attention_factor": 1.0}})",
     "rope_scaling.attention_factor: is not known"},
    {"llama", R"({"use_sliding_window": true})", "use_sliding_window: only false is supported"},
    {"mistral", R"({"attention_bias": true})",
     "attention_bias: only false is supported, found true"},
    {"qwen2", R"({"mlp_bias": true})", "mlp_bias: only false is supported"},
    {"gpt2", R"({"num_experts": 4})", "num_experts: only 0 is supported, found 4"},
    {"mamba", R"({"attention_bias": true})", "attention_bias: only false is supported"},
    {"gpt_neox", R"({"logit_scale": 0.5})", "logit_scale: only 1 is supported, found 0.5"},
    {"mistral", R"({"rope_parameters": {"full_attention": {"rope_theta": 100.0}}})",
     "rope_parameters.full_attention: is not known"},
    {"gpt_neox", R"({"rope_parameters": {"rotary_pct": 0.5}})",
     "rope_parameters.rotary_pct: is not known"},
    {"llama", R"({"rope_parameters": {"rope_type": "default", "rope_theta": 200.0}})",
     "rope_parameters.rope_theta: is 200, but rope_theta is 100"},
    {"llama", R"({"rope_scaling": {"type": "linear", "factor": 2.0},
                  "rope_parameters": {"rope_type": "linear", "factor": 4.0}})",
     "rope_scaling: says something else than rope_parameters"},
    {"llama", R"({"rope_scaling": {"type": "linear", "rope_type": "default", "factor": 2.0}})",
     "rope_scaling.rope_type: is \"default\", but rope_scaling.type, another name of it, is"},
    {"gpt_neox", R"({"rope_theta": 500.0})",
     "rope_theta: is 500, but rotary_emb_base is 10000, the family's default"},
    {"gpt_neox", R"({"rope_theta": 500.0, "rotary_emb_base": 700.0})",
     "rope_theta: is 500, but rotary_emb_base is 700"},
    {"gpt_neox", R"({"partial_rotary_factor": 1.0})",
     "partial_rotary_factor: is 1, but rotary_pct is 0.5"},
    {"gpt_neox", R"({"rotary_pct": null, "partial_rotary_factor": 1.0})",
     "partial_rotary_factor: is 1, but rotary_pct is 0.25, the family's default"},
    {"gpt_neox", R"({"rope_parameters": {"partial_rotary_factor": 1.0}})",
     "rope_parameters.partial_rotary_factor: is 1, but rotary_pct is 0.5"},
    {"gpt2", R"({"hidden_size": 32})", "n_embd: is 16, but hidden_size, another name of it, is 32"},
    {"gpt2", R"({"num_hidden_layers": 2})", "n_layer: is 3, but num_hidden_layers"},
    {"gpt2", R"({"num_attention_heads": 2})", "n_head: is 4, but num_attention_heads"},
    {"gpt2", R"({"max_position_embeddings": 64})",
     "n_positions: is 12, but max_position_embeddings"},
    {"gpt2", R"({"n_ctx": 64})", "n_ctx: only 12 is supported, found 64"},
    {"mistral", R"({"num_key_value_heads": null})",
     "num_key_value_heads: expected a divisor of 4 heads, found 8, the family's default"},
    {"qwen2", R"({"num_key_value_heads": null})", "found 32, the family's default"},
    {"llama", R"({"rope_theta": 0})", "rope_theta: cannot rotate"},
    {"llama", R"({"num_attention_heads": 3, "num_key_value_heads": 3})",
     "num_attention_heads: expected a divisor of hidden_size = 16"},
    {"llama", R"({"num_key_value_heads": 3})",
     "num_key_value_heads: expected a divisor of 4 heads, found 3"},
    {"llama",
     R"({"num_attention_heads": 16777216, "num_key_value_heads": 1, "head_dim": 16777216})",
     "head_dim: makes 281474976710656 channels, expected at most 16777216"},
    {"llama", R"({"hidden_act": "tanh"})",
     "hidden_act: supported are silu, gelu, gelu_new, gelu_pytorch_tanh and relu, found 'tanh'"},
    {"llama", R"({"sliding_window": 8})", "sliding_window: is not known to this family"},
    {"mistral", R"({"sliding_window": -1})", "sliding_window: expected 1 to 16777216, found -1"},
    {"qwen2", R"({"layer_types": ["full_attention"]})", "layer_types: expected a list of 3 layers"},
    {"qwen2", R"({"layer_types": ["full_attention", "full_attention", "linear_attention"]})",
     "layer_types: expected full_attention or sliding_attention, found \"linear_attention\""},
    {"qwen2", R"({"layer_types": ["full_attention", "full_attention", "sliding_attention"]})",
     "layer_types: names sliding layers, but use_sliding_window is false"},
    {"gpt2", R"({"n_head": 5})", "n_head: expected a divisor of n_embd = 16, found 5"},
    {"gpt2", R"({"scale_attn_weights": false})", "scale_attn_weights: only true is supported"},
    {"gpt2", R"({"activation_function": "tanh"})", "activation_function: supported are"},
    {"gpt_neox", R"({"rotary_pct": 1e9})", "rotary_pct: expected a share of the head in (0, 1]"},
    {"gpt_neox", R"({"num_attention_heads": 5})",
     "num_attention_heads: expected a divisor of hidden_size = 16"}};

const Refusal kStateSpace[] = {
    {"mamba", R"({"hidden_act": "gelu"})", "hidden_act: only \"silu\" is supported"},
    {"mamba", R"({"state_size": 257})",
     "state_size: at most 256 states per channel are supported, found 257"},
    {"mamba", R"({"expand": 1e300})", "expand: expected 1 to 16777216 channels"},
    {"mamba", R"({"expand": 0})", "expand: expected 1 to 16777216 channels"},
    {"mamba", R"({"time_step_rank": "many"})", "time_step_rank: expected an integer"},
    {"falcon_mamba", R"({"mixer_rms_eps": true})", "mixer_rms_eps: expected a number"},
    {"mamba2", R"({"num_heads": 7})",
     "num_heads: num_heads * head_dim = 28 must equal expand * hidden_size = 32"},
    {"mamba2", R"({"n_groups": 3})", "n_groups: expected a divisor of the 8 heads, found 3"},
    {"mamba2", R"({"state_size": 16777216})",
     "n_groups: makes 33554432 channels, expected at most 16777216"},
    {"mamba2", R"({"conv_kernel": 1025})", "conv_kernel: expected 1 to 1024, found 1025"},
    {"mamba2", R"({"time_step_limit": [0.1]})",
     "time_step_limit: expected two numbers, found [0.1]"},
    {"mamba2", R"({"time_step_limit": [2.0, 1.0]})",
     "the lower limit of dt is above the upper one"},
    {"mamba2", R"({"layer_types": ["mamba2", "mamba2", "attention"]})",
     "layer_types: expected linear_attention or mamba2, found \"attention\""},
    {"mamba2", R"({"rms_norm": false})", "rms_norm: only true is supported"},
    {"mamba_ssm", R"({"d_intermediate": 64})", "d_intermediate: only 0 is supported, found 64"},
    {"mamba_ssm", R"({"attn_layer_idx": [1]})", "attn_layer_idx: only [] is supported, found [1]"},
    {"mamba_ssm", R"({"attn_cfg": {"num_heads": 8}})", "attn_cfg: only {} is supported"},
    {"mamba", R"({"ssm_cfg": {"d_state": 8}})", "ssm_cfg: only {} is supported"},
    {"mamba", R"({"d_model": 32})", "d_model: only 16 is supported, found 32"},
    {"mamba", R"({"n_layer": 4})", "n_layer: only 3 is supported"},
    {"mamba2", R"({"intermediate_size": 64})", "intermediate_size: only 32 is supported"},
    {"mamba_ssm", R"({"rms_norm": false})", "rms_norm: only true is supported"},
    {"mamba_ssm", R"({"ssm_cfg": {"layer": "Mamba3"}})",
     "ssm_cfg.layer: expected Mamba1 or Mamba2, found 'Mamba3'"},
    {"mamba_ssm", R"({"ssm_cfg": {"window": 3}})", "ssm_cfg.window: is not known to this family"},
    {"mamba_ssm2", R"({"ssm_cfg": {"d_ssm": 64}})",
     "ssm_cfg.d_ssm: expected at most expand * d_model = 32"},
    {"mamba_ssm2", R"({"ssm_cfg": {"headdim": 5}})", "ssm_cfg.headdim: expected a divisor of 24"},
    {"mamba_ssm2", R"({"ssm_cfg": {"D_has_hdim": true}})",
     "ssm_cfg.D_has_hdim: only false is supported"}};

const Refusal kDecoders[] = {
    {"qwen3", R"({"use_sliding_window": false})",
     "layer_types: names sliding layers, but use_sliding_window is false"},
    {"qwen3", R"({"head_dim": 7})", "rope_theta: cannot rotate 7 of 7 dimensions"},
    {"qwen3", R"({"rope_scaling": {"rope_type": "yarn", "original_max_position_embeddings": 32}})",
     "rope_scaling.factor: is missing"},
    {"olmo3", R"({"rope_parameters": null, "rope_scaling": {"rope_type": "linear"}})",
     "rope_scaling.factor: is missing"},
    {"qwen3", R"({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}})",
     "rope_scaling.rope_type: supported are default, linear, llama3, yarn and longrope"},
    {"olmo3", R"({"rope_theta": 10000.0})", "rope_theta: versions of transformers disagree"},
    {"olmo3", R"({"rope_parameters": {"rope_type": "default"}})",
     "rope_parameters: expected full_attention and sliding_attention, found rope_type"},
    {"olmo3", R"({"rope_parameters": {"full_attention": {"rope_type": "yarn", "factor": 2.0,
                                                         "truncate": false}}})",
     "rope_parameters.full_attention.truncate: only true is supported"},
    {"olmo3", R"({"sliding_window": -1})", "sliding_window: expected 1"},
    {"gemma2", R"({"attn_logit_softcapping": 0})",
     "attn_logit_softcapping: expected a positive number or null"},
    {"gemma2", R"({"use_bidirectional_attention": true})",
     "use_bidirectional_attention: only false"},
    {"gemma2", R"({"hidden_size": 18})", "num_attention_heads: expected a divisor of hidden_size"},
    {"gemma3", R"({"attn_logit_softcapping": 50.0})", "attn_logit_softcapping: caps scores"},
    {"gemma3", R"({"layer_types": ["sliding_attention", "full_attention", "chunked_attention"]})",
     "layer_types: expected full_attention or sliding_attention, found \"chunked_attention\""},
    {"phi3", R"({"partial_rotary_factor": 0.6})", "partial_rotary_factor: expected a share"},
    {"phi3", R"({"rope_scaling": {"type": "yarn", "factor": 2.0}})",
     "rope_scaling.rope_type: supported are default and longrope, found 'yarn'"},
    {"phi3", R"({"rope_scaling": {"type": "su", "short_factor": [1, 2], "long_factor": [1]}})",
     "rope_scaling.long_factor: expected a list of 2 positive numbers"},
    {"phi3", R"({"mlp_bias": true})", "mlp_bias: only false is supported"},
    {"smollm3", R"({"no_rope_layers": [1, 2, 1]})", "no_rope_layers: expected 0 or 1, found 2"},
    {"smollm3", R"({"use_sliding_window": false})", "layer_types: names sliding layers"},
    {"llama", R"({"hidden_size": 18, "head_dim": 4})",
     "num_attention_heads: expected a divisor of hidden_size = 18, found 4"},
    {"granite", R"({"logits_scaling": 0})", "logits_scaling: expected a positive number"},
    {"gptj", R"({"rotary_dim": 3})", "rotary_dim: expected an even number"},
    {"gptj", R"({"rotary_dim": 0})", "rotary_dim: expected 2"},
    {"gptj", R"({"scale_attn_weights": false})", "scale_attn_weights: only true"},
    {"opt", R"({"num_attention_heads": 3})", "num_attention_heads: expected a divisor"},
};

INSTANTIATE_TEST_SUITE_P(Decoders, Refused, testing::ValuesIn(kDecoders));
INSTANTIATE_TEST_SUITE_P(General, Refused, testing::ValuesIn(kGeneral));
INSTANTIATE_TEST_SUITE_P(Transformers, Refused, testing::ValuesIn(kTransformers));
INSTANTIATE_TEST_SUITE_P(StateSpace, Refused, testing::ValuesIn(kStateSpace));

Architecture read(const char* model, const char* change = "{}") {
  return read_architecture(changed({model, change, ""}), "config.json");
}

TEST(Architecture, TransformerShapes) {
  const Architecture gpt2 = read("gpt2");
  EXPECT_EQ(gpt2.family, "gpt2");
  EXPECT_EQ(gpt2.max_positions, 12);
  EXPECT_TRUE(gpt2.tied_head);
  EXPECT_EQ(mlp_of(gpt2).inner, 64);
  EXPECT_EQ(gpt2.channels(), 0);
  EXPECT_EQ(gpt2.mixing(), "attention");
  const Architecture mistral = read("mistral");
  EXPECT_EQ(attention_of(mistral).head_size, 6);
  EXPECT_THAT(sliding_windows_of(mistral), testing::ElementsAre(4, 4, 4));
  // A null removes the key here, and the library's class then has a window of 4096.
  EXPECT_THAT(sliding_windows_of(read("mistral", R"({"sliding_window": null})")),
              testing::Each(4096));
  EXPECT_EQ(attention_of(read("gpt_neox")).rotary.dimensions, 2);
  EXPECT_TRUE(read("gpt_neox").blocks[0][0].parallel_with_next);
}

TEST(Architecture, NamesEachLayer) {
  EXPECT_EQ(layer_name(read("gpt2").blocks[0]), "attention, mlp");
  EXPECT_EQ(layer_name(read("gpt_neox").blocks[1]), "attention + mlp");
  EXPECT_EQ(layer_name(read("falcon_mamba").blocks[2]), "mamba");
  EXPECT_EQ(layer_name(read("mamba2").blocks[0]), "mamba2");
}

// Keys for which versions of transformers refuse null or differ in what it means.
const std::map<std::string, std::vector<const char*>> kNoNulls = {
    {"gpt2",
     {"n_embd",
      "n_layer",
      "n_head",
      "n_positions",
      "vocab_size",
      "activation_function",
      "layer_norm_epsilon",
      "scale_attn_weights",
      "scale_attn_by_inverse_layer_idx",
      "n_ctx",
      "reorder_and_upcast_attn",
      "add_cross_attention",
      "tie_word_embeddings",
      "attn_pdrop",
      "embd_pdrop",
      "resid_pdrop",
      "summary_type",
      "summary_use_proj",
      "summary_proj_to_labels",
      "summary_first_dropout",
      "use_cache",
      "initializer_range",
      "hidden_size"}},
    {"gpt_neox",
     {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
      "hidden_act", "attention_dropout", "hidden_dropout", "classifier_dropout", "rotary_pct",
      "max_position_embeddings", "layer_norm_eps", "tie_word_embeddings", "use_parallel_residual",
      "attention_bias", "rotary_emb_base", "is_decoder", "use_cache"}},
    {"llama",
     {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
      "hidden_act", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings",
      "attention_bias", "mlp_bias", "rope_theta"}},
    {"mistral",
     {"num_attention_heads", "num_key_value_heads", "hidden_act", "rms_norm_eps", "rope_theta",
      "tie_word_embeddings", "attention_dropout", "max_position_embeddings"}},
    {"qwen2",
     {"hidden_act", "rms_norm_eps", "rope_theta", "head_dim", "tie_word_embeddings",
      "use_sliding_window", "max_window_layers", "attention_dropout"}},
    {"mamba",
     {"vocab_size",
      "hidden_size",
      "state_size",
      "num_hidden_layers",
      "layer_norm_epsilon",
      "expand",
      "conv_kernel",
      "use_bias",
      "use_conv_bias",
      "hidden_act",
      "time_step_rank",
      "residual_in_fp32",
      "time_step_scale",
      "time_step_min",
      "time_step_max",
      "time_step_floor",
      "time_step_init_scheme",
      "rescale_prenorm_residual",
      "use_mambapy",
      "use_associative_scan",
      "tie_word_embeddings",
      "layer_types",
      "intermediate_size",
      "d_model"}},
    {"falcon_mamba", {"mixer_rms_eps", "use_falcon_mambapy", "intermediate_size", "use_bias"}},
    {"mamba2",
     {"num_heads", "head_dim", "n_groups", "state_size", "expand", "conv_kernel", "use_bias",
      "use_conv_bias", "hidden_act", "time_step_rank", "time_step_limit", "chunk_size",
      "layer_norm_epsilon", "tie_word_embeddings", "rms_norm", "layer_types"}},
    {"mamba_ssm",
     {"d_model", "n_layer", "vocab_size", "pad_vocab_size_multiple", "tie_embeddings", "rms_norm",
      "d_intermediate", "residual_in_fp32", "fused_add_norm"}}};

TEST(NullValues, AreRefusedByName) {
  for (const auto& [model, keys] : kNoNulls)
    for (const std::string key : keys) {
      json config = small_config(model);
      config[key] = nullptr;
      try {
        read_architecture(config, "config.json");
        ADD_FAILURE() << model << " took null for " << key;
      } catch (const InputError& error) {
        EXPECT_THAT(error.what(), testing::ContainsRegex("key (n_embd: is 16, but )?" + key));
      }
    }
}

TEST(NullValues, AreRefusedInsideObjects) {
  const struct {
    const char *model, *object, *key, *text;
  } places[] = {{"mamba_ssm", "ssm_cfg", "bias", "ssm_cfg.bias: is null"},
                {"mamba_ssm", "ssm_cfg", "dt_rank", "ssm_cfg.dt_rank: is null"},
                {"mamba_ssm2", "ssm_cfg", "rmsnorm", "ssm_cfg.rmsnorm: is null"},
                {"mamba_ssm2", "ssm_cfg", "dt_limit", "ssm_cfg.dt_limit: is null"},
                {"llama", "rope_parameters", "rope_type", "rope_parameters.rope_type: is null"},
                {"llama", "rope_scaling", "rope_theta", "rope_scaling.rope_theta: is null"},
                {"mamba_ssm", "ssm_cfg", "window", "ssm_cfg.window: is not known"}};
  for (const auto& place : places) {
    json config = small_config(place.model);
    config[place.object][place.key] = nullptr;
    try {
      read_architecture(config, "config.json");
      ADD_FAILURE() << place.text;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(place.text));
    }
  }
}

Architecture with_null(const char* model, const char* key, const char* change = "{}") {
  json config = changed({model, change, ""});
  config[key] = nullptr;
  return read_architecture(config, "config.json");
}

TEST(NullValues, HaveTheMeaningThatAllVersionsGiveThem) {
  EXPECT_EQ(mlp_of(with_null("gpt2", "n_inner")).inner, 64);
  EXPECT_EQ(attention_of(with_null("llama", "num_key_value_heads")).key_heads, 4);
  EXPECT_EQ(attention_of(with_null("qwen2", "num_key_value_heads")).key_heads, 4);
  EXPECT_EQ(attention_of(with_null("llama", "head_dim")).head_size, 4);
  EXPECT_EQ(attention_of(with_null("mistral", "head_dim")).head_size, 4);
  EXPECT_THAT(sliding_windows_of(with_null("mistral", "sliding_window")), testing::Each(0));
  EXPECT_EQ(with_null("mamba_ssm", "ssm_cfg").channels(), 32);
  for (const char* key : {"rope_scaling", "rope_parameters", "sliding_window", "layer_types"})
    EXPECT_EQ(attention_of(with_null("llama", key)).rotary, attention_of(read("llama")).rotary);
  for (const char* model : {"gpt2", "gpt_neox", "mamba", "mamba2"})
    EXPECT_EQ(with_null(model, "sliding_window").family, model);
  // transformers 5 leaves null where it has moved the number.
  EXPECT_EQ(attention_of(
                with_null("llama", "rope_theta", R"({"rope_parameters": {"rope_theta": 300.0}})"))
                .rotary.theta,
            300.0);
}

TEST(NullValues, NoWindowInQwen2) {
  const char* slides = R"({"use_sliding_window": true, "max_window_layers": 1})";
  EXPECT_THAT(sliding_windows_of(with_null("qwen2", "sliding_window", slides)), testing::Each(0));
  EXPECT_THROW(with_null("qwen2", "sliding_window",
                         R"({"use_sliding_window": true, "layer_types":
                             ["full_attention", "full_attention", "sliding_attention"]})"),
               InputError);
}

TEST(Architecture, OlderAndNewerSpellings) {
  const Architecture gpt2 = read("gpt2", R"({"n_embd": null, "hidden_size": 16, "n_head": null,
      "num_attention_heads": 4, "n_layer": null, "num_hidden_layers": 3, "n_positions": null,
      "max_position_embeddings": 12})");
  EXPECT_EQ(gpt2.hidden, 16);
  EXPECT_EQ(gpt2.max_positions, 12);
  const Rotary both =
      attention_of(read("llama", R"({"rope_scaling": {"type": "linear", "factor": 2.0},
      "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 100.0}})"))
          .rotary;
  EXPECT_EQ(both.factor, 2.0);
  const Rotary neox = attention_of(read("gpt_neox", R"({"rotary_pct": null, "rope_parameters":
      {"rope_type": "default", "rope_theta": 50.0, "partial_rotary_factor": 1.0}})"))
                          .rotary;
  EXPECT_EQ(neox.dimensions, 4);
  EXPECT_EQ(neox.theta, 50.0);
}

TEST(Architecture, Qwen2SlidesOnlyWhereItSaysSo) {
  EXPECT_THAT(sliding_windows_of(read("qwen2", R"({"sliding_window": 4})")), testing::Each(0));
  EXPECT_THAT(
      sliding_windows_of(read(
          "qwen2", R"({"use_sliding_window": true, "sliding_window": 4, "max_window_layers": 1})")),
      testing::ElementsAre(0, 4, 4));
  EXPECT_THAT(sliding_windows_of(read("qwen2", R"({"use_sliding_window": true, "sliding_window": 4,
                               "layer_types": ["sliding_attention", "full_attention", "full_attention"]})")),
              testing::ElementsAre(4, 0, 0));
}

TEST(Architecture, RotaryScaling) {
  const Rotary linear =
      attention_of(read("llama", R"({"rope_scaling": {"type": "linear", "factor": 2.0}})")).rotary;
  EXPECT_EQ(linear.scaling, Rotary::Scaling::kLinear);
  EXPECT_EQ(linear.factor, 2.0);
  const Rotary llama3 =
      attention_of(
          read(
              "llama",
              R"({"rope_theta": null, "rope_parameters": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                        "original_max_position_embeddings": 64, "rope_theta": 500000.0}})"))
          .rotary;
  EXPECT_EQ(llama3.scaling, Rotary::Scaling::kLlama3);
  EXPECT_EQ(llama3.theta, 500000.0);
  EXPECT_EQ(llama3.dimensions, 4);
}

TEST(Architecture, StateSpaceShapes) {
  const Architecture mamba = read("mamba");
  EXPECT_EQ(mamba.channels(), 70);
  EXPECT_EQ(mamba_of(mamba).time_step_rank, 1);  // ceil(16 / 16)
  EXPECT_FALSE(mamba_of(mamba).normalise_parameters);
  EXPECT_TRUE(mamba_of(read("falcon_mamba")).normalise_parameters);
  const Architecture mamba2 = read("mamba2");
  EXPECT_EQ(mamba2.channels(), 8);
  EXPECT_EQ(mamba2_of(mamba2).norm_group, 16);  // of two groups
  EXPECT_EQ(mamba2_of(mamba2).dt_max, 1.5);
}

// What the classes of transformers 5.24 and mamba_ssm have for keys that are absent.
TEST(ClassDefaults, FillWhatIsAbsent) {
  const auto bare = [](const char* family) {
    return read_architecture({{"model_type", family}}, "config.json");
  };
  const struct {
    const char* family;
    std::vector<int> sizes;  // vocabulary, hidden, layers, heads, key heads, head size, mlp
  } transformers[] = {{"gpt2", {50257, 768, 12, 12, 12, 64, 3072}},
                      {"gpt_neox", {50432, 6144, 44, 64, 64, 96, 24576}},
                      {"llama", {32000, 4096, 32, 32, 32, 128, 11008}},
                      {"mistral", {32000, 4096, 32, 32, 8, 128, 14336}},
                      {"qwen2", {151936, 4096, 32, 32, 32, 128, 22016}},
                      {"qwen3", {151936, 4096, 32, 32, 32, 128, 22016}},
                      {"olmo2", {50304, 4096, 32, 32, 32, 128, 11008}},
                      {"olmo3", {50304, 4096, 32, 32, 32, 128, 11008}},
                      {"gemma2", {256000, 2304, 26, 8, 4, 256, 9216}},
                      {"gemma3_text", {262208, 2304, 26, 8, 4, 256, 9216}},
                      {"phi3", {32064, 3072, 32, 32, 32, 96, 8192}},
                      {"smollm3", {128256, 2048, 36, 16, 4, 128, 11008}},
                      {"granite", {32000, 4096, 32, 32, 32, 128, 11008}},
                      {"gptj", {50400, 4096, 28, 16, 16, 256, 16384}},
                      {"opt", {50272, 768, 12, 12, 12, 64, 3072}}};
  for (const auto& one : transformers) {
    SCOPED_TRACE(one.family);
    const Architecture found = bare(one.family);
    const AttentionShape& shape = attention_of(found);
    EXPECT_EQ((std::vector<int>{found.vocabulary, found.hidden, found.layers, shape.heads,
                                shape.key_heads, shape.head_size, mlp_of(found).inner}),
              one.sizes);
    EXPECT_THAT(found.assumed, testing::SizeIs(testing::Ge(4U)));
  }
  EXPECT_EQ(attention_of(bare("gpt_neox")).rotary.dimensions, 24);
  EXPECT_THAT(sliding_windows_of(bare("mistral")), testing::Each(4096));
  for (const char* family : {"qwen3", "phi3", "smollm3"})
    EXPECT_THAT(sliding_windows_of(bare(family)), testing::Each(0)) << family;
  for (const auto& [family, full_every] :
       {std::pair{"olmo3", 4}, {"gemma2", 2}, {"gemma3_text", 6}}) {
    const std::vector<int> windows = sliding_windows_of(bare(family));
    for (size_t i = 0; i < windows.size(); ++i)
      EXPECT_EQ(windows[i], (static_cast<int>(i) + 1) % full_every == 0 ? 0 : 4096) << family << i;
  }
  const Architecture gemma2 = bare("gemma2"), gemma3 = bare("gemma3_text");
  EXPECT_EQ(attention_of(gemma2).score_cap, 50);
  EXPECT_EQ(gemma2.logits_cap, 30);
  EXPECT_EQ(gemma2.embedding_scale, 48);
  EXPECT_EQ(attention_of(gemma2).scale, 1.0 / 16);
  EXPECT_EQ(attention_of(gemma3).score_cap + gemma3.logits_cap, 0);
  EXPECT_EQ(gemma3.mixer<AttentionShape>(0).rotary.theta, 1e4);
  EXPECT_EQ(gemma3.mixer<AttentionShape>(5).rotary.theta, 1e6);
  EXPECT_EQ(attention_of(bare("olmo3")).rotary.theta, 500000);
  EXPECT_EQ(attention_of(bare("smollm3")).rotary.theta, 2e6);
  EXPECT_EQ(bare("smollm3").mixer<AttentionShape>(3).rotary.dimensions, 0);
  EXPECT_EQ(attention_of(bare("granite")).scale, 1);  // not scaled at all
  EXPECT_EQ(attention_of(bare("gptj")).rotary.dimensions, 64);
  for (const char* family : {"gemma2", "gemma3_text", "smollm3", "opt"})
    EXPECT_TRUE(bare(family).tied_head) << family;
  for (const char* family : {"qwen3", "olmo2", "olmo3", "phi3", "granite", "gptj"})
    EXPECT_FALSE(bare(family).tied_head) << family;
  for (const char* family : {"olmo2", "olmo3", "phi3", "gptj", "opt"})
    EXPECT_EQ(bare(family).norm_epsilon, 1e-5) << family;
  for (const char* family : {"qwen3", "gemma2", "gemma3_text", "smollm3", "granite"})
    EXPECT_EQ(bare(family).norm_epsilon, 1e-6) << family;
  for (const char* family : {"mamba", "falcon_mamba"}) {
    const Architecture found = bare(family);
    const MambaShape& shape = mamba_of(found);
    EXPECT_EQ((std::vector<int>{found.vocabulary, found.hidden, found.layers, shape.inner,
                                shape.states, shape.conv_kernel, shape.time_step_rank}),
              (std::vector<int>{50280, 768, 32, 1536, 16, 4, 48}));
  }
  const Architecture mamba2 = bare("mamba2");
  EXPECT_EQ((std::vector<int>{mamba2.vocabulary, mamba2.hidden, mamba2.layers,
                              mamba2_of(mamba2).heads, mamba2_of(mamba2).head_size,
                              mamba2_of(mamba2).groups, mamba2_of(mamba2).states}),
            (std::vector<int>{32768, 4096, 64, 128, 64, 8, 128}));
  const Architecture ssm = read_architecture({{"d_model", 2560}}, "config.json");
  EXPECT_EQ((std::vector<int>{ssm.vocabulary, ssm.layers, ssm.channels()}),
            (std::vector<int>{50280, 64, 5120}));
}

TEST(ClassDefaults, MistralHasEightKeyHeads) {
  const Architecture mistral =
      read("mistral", R"({"num_attention_heads": 16, "num_key_value_heads": null})");
  EXPECT_EQ(attention_of(mistral).key_heads, 8);
  EXPECT_THAT(mistral.assumed, testing::Contains("num_key_value_heads (8)"));
}

TEST(ClassDefaults, OriginalPositionsOfLlama3AreThoseOfTheModel) {
  const char* change = R"({"rope_scaling": {"rope_type": "llama3", "factor": 8.0,
      "low_freq_factor": 1.0, "high_freq_factor": 4.0}})";
  json config = changed({"llama", change, ""});
  EXPECT_EQ(attention_of(read_architecture(config, "c")).rotary.original_max_positions, 2048);
  config["max_position_embeddings"] = 64;
  EXPECT_EQ(attention_of(read_architecture(config, "c")).rotary.original_max_positions, 64);
}

struct SwitchedOff {
  const char *model, *keys;
};

class SwitchedOffKeys : public testing::TestWithParam<SwitchedOff> {};

// Null in `keys` is null, not absence.
TEST_P(SwitchedOffKeys, ChangeNothing) {
  json config = small_config(GetParam().model);
  const json plain = config;
  config.update(json::parse(GetParam().keys));
  const Architecture with = read_architecture(config, "config.json"),
                     without = read_architecture(plain, "config.json");
  EXPECT_EQ(with.norm_epsilon, without.norm_epsilon);
  ASSERT_EQ(with.mixing(), without.mixing());
  if (with.mixing() != "attention") return;
  EXPECT_EQ(attention_of(with).rotary, attention_of(without).rotary);
  EXPECT_EQ(sliding_windows_of(with), sliding_windows_of(without));
  EXPECT_EQ(attention_of(with).query_key_value_bias, attention_of(without).query_key_value_bias);
  EXPECT_EQ(attention_of(with).output_bias, attention_of(without).output_bias);
  EXPECT_EQ(mlp_of(with).bias, mlp_of(without).bias);
}

const SwitchedOff kSwitchedOff[] = {
    {"llama", R"({"use_sliding_window": false})"},
    {"llama", R"({"use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 28})"},
    {"gpt2", R"({"use_sliding_window": false, "sliding_window": 4})"},
    {"mistral", R"({"use_sliding_window": false})"},
    {"mistral", R"({"attention_bias": false, "mlp_bias": false})"},
    {"qwen2", R"({"attention_bias": false, "mlp_bias": false, "qkv_bias": false})"},
    {"qwen2", R"({"attention_bias": true})"},
    {"gpt2", R"({"attention_bias": false, "num_experts": 0, "use_parallel_residual": false})"},
    {"gpt_neox", R"({"mlp_bias": false, "qk_layernorm": false, "sliding_window": null})"},
    {"mamba", R"({"attention_bias": false, "use_mamba": null, "attention_dropout": 0.0})"},
    {"mamba2", R"({"mlp_bias": false, "num_experts": 0, "hidden_dropout": 0.0})"},
    {"falcon_mamba", R"({"use_sliding_window": false, "residual_multiplier": 1.0})"},
    {"llama", R"({"rope_scaling": {"type": "default", "factor": 1.0}})"},
    {"llama", R"({"rope_scaling": {"rope_type": "default", "factor": 1}})"},
    {"llama", R"({"rope_scaling": {"rope_type": "default", "factor": null}})"},
    {"qwen2", R"({"rope_scaling": {"type": "default", "factor": 1.0,
                  "original_max_position_embeddings": 32768, "attention_factor": 1.0}})"},
    {"gpt_neox", R"({"rope_parameters": {"rope_type": "default", "factor": 1.0}})"},
    {"mistral", R"({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 1.0}})"},
    {"llama", R"({"rope_scaling": {}})"},
    {"llama", R"({"partial_rotary_factor": 1.0, "rope_interleaved": false, "use_mrope": false})"},
    {"llama", R"({"attention_dropout": null, "resid_pdrop": 0.0, "embd_pdrop": 0.0})"},
    {"gpt2", R"({"hidden_dropout": 0, "attention_dropout": 0.0, "dropout": 0.1})"},
    {"llama", R"({"logit_scale": 1.0, "embedding_multiplier": 1, "logits_scaling": 1.0})"},
    {"llama", R"({"final_logit_softcapping": null, "attn_logit_softcapping": null,
                  "query_pre_attn_scalar": null, "clip_qkv": null, "logit_scale": null})"},
    {"qwen2", R"({"num_experts": 0, "num_local_experts": 0, "output_router_logits": false})"},
    {"llama", R"({"quantization_config": null, "auto_map": null, "pruned_heads": {}})"},
    {"llama", R"({"quantization_config": {}, "auto_map": {}})"},
    {"llama", R"({"auto_map": {"AutoTokenizer": ["tokenization_x.Tokenizer", null]}})"},
    {"mamba_ssm", R"({"sliding_window": null})"}};
INSTANTIATE_TEST_SUITE_P(Families, SwitchedOffKeys, testing::ValuesIn(kSwitchedOff));

// transformers 4.47 to 4.57 write the newer names beside the old ones.
TEST(Architecture, GptNeoxUnderOldAndNewNames) {
  const Rotary plain =
      attention_of(read("gpt_neox", R"({"rotary_pct": 1.0, "rotary_emb_base": 500})")).rotary;
  for (const char* change :
       {R"({"rotary_pct": 1.0, "partial_rotary_factor": 1.0, "rotary_emb_base": 500,
            "rope_theta": 500})",
        R"({"rotary_pct": 1.0, "partial_rotary_factor": 1, "rotary_emb_base": 500,
            "rope_theta": 500.0, "rope_scaling": {"rope_type": "default", "factor": 1.0}})",
        R"({"rotary_pct": 1, "partial_rotary_factor": 1.0, "rotary_emb_base": 500.0,
            "rope_theta": 500, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0,
            "partial_rotary_factor": 1.0}})"})
    EXPECT_EQ(attention_of(read("gpt_neox", change)).rotary, plain) << change;
}

// Nor does a near name of another one.
TEST(ModelType, OfAnotherArchitectureIsProposedNone) {
  for (const char* type :
       {"qwen4",   "qwen2_moe", "qwen2_vl", "qwen",  "mistral3", "dbrx",        "ministral",
        "llama4",  "llama2",    "mllama",   "gpt3",  "gpt",      "gpt_neo",     "gpt_j6",
        "gpt_oss", "mamba3",    "mamba1",   "rwkv6", "falcon",   "kimi_linear", "zamba"}) {
    json config = small_config("llama");
    config["model_type"] = type;
    try {
      read_architecture(config, "config.json");
      ADD_FAILURE() << type;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("'" + std::string(type) + "'"),
                                               HasSubstr("supported families: gpt2, llama"),
                                               testing::Not(HasSubstr("did you mean"))));
    }
  }
}

TEST(Architecture, TheGatedNormMayTakeAllChannelsTogether) {
  const CheckpointChoices whole{.gated_norm = GatedNormChoice::kAllChannels};
  EXPECT_EQ(mamba2_of(read_architecture(small_config("mamba2"), "config.json", whole)).norm_group,
            mamba2_of(read("mamba2")).inner);
  for (const char* family : {"mamba", "llama"}) try {
      read_architecture(small_config(family), "config.json", whole);
      FAIL() << family << " has no gated norm";
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr("gated_norm: all-channels"));
    }
}

TEST(Architecture, TheMambaSsmLibrarysConfiguration) {
  const Architecture mamba = read("mamba_ssm");
  EXPECT_EQ(mamba.family, "mamba");
  EXPECT_TRUE(mamba.mamba_ssm);
  EXPECT_EQ(mamba.vocabulary, 32);  // padded to a multiple of 8
  EXPECT_EQ(mamba.channels(), 32);
  const Architecture mamba2 = read("mamba_ssm2");
  EXPECT_EQ(mamba2.family, "mamba2");
  EXPECT_EQ(mamba2.channels(), 8);
  EXPECT_EQ(mamba2_of(mamba2).mlp_size, 8);
  EXPECT_EQ(mamba2_of(mamba2).norm_group, 12);
}

}  // namespace
}  // namespace factflow
