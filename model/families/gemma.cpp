// Gemma-2 and the text model of Gemma-3, as transformers' Gemma2ForCausalLM and Gemma3ForCausalLM
// save them: norms before and behind each block, which multiply by 1 + w; embeddings times
// sqrt(hidden_size); sliding layers in turn with full ones. Gemma-2 caps scores and logits, Gemma-3
// has a norm of each query and key head.
#include <cmath>

#include <fmt/format.h>

#include "model/families/declarations.hpp"
#include "model/families/llama_decoder.hpp"
#include "model/families/rotary.hpp"

namespace factflow {
namespace {

constexpr LlamaDefaults kGemma2{.vocabulary = 256000,
                                .mlp_size = 9216,
                                .positions = 8192,
                                .key_heads = 4,
                                .hidden = 2304,
                                .layers = 26,
                                .heads = 8,
                                .tied = true,
                                .head_size = 256,
                                .null_key_heads = false,
                                .whole_heads = true,
                                .activation_key = "hidden_activation",
                                .activation = "gelu_pytorch_tanh"};

constexpr LlamaDefaults gemma3_defaults() {
  LlamaDefaults defaults = kGemma2;
  defaults.vocabulary = 262208;
  defaults.positions = 131072;
  return defaults;
}

LlamaNames names() {
  LlamaNames names;
  names.attention_behind = "post_attention_layernorm";
  names.mlp = "pre_feedforward_layernorm";
  names.mlp_behind = "post_feedforward_layernorm";
  names.one_plus = true;
  return names;
}

LlamaDecoder read_gemma(ConfigReader& config, const LlamaDefaults& defaults) {
  LlamaDecoder decoder = read_llama_decoder(config, defaults);
  Architecture& architecture = decoder.architecture;
  AttentionShape& attention = decoder.attention;
  architecture.embedding_scale = std::sqrt(static_cast<double>(architecture.hidden));
  const double scalar = config.number("query_pre_attn_scalar", 256);
  if (!(scalar > 0)) config.fail("query_pre_attn_scalar", "expected a positive number");
  attention.scale = 1 / std::sqrt(scalar);
  attention.query_key_value_bias = attention.output_bias = config.flag("attention_bias", false);
  config.expect_or_null("use_bidirectional_attention", false);
  config.ignore({"hidden_act", "sliding_window_size", "cache_implementation"});
  return decoder;
}

// Null is no cap.
double read_cap(ConfigReader& config, const char* key, double fallback) {
  if (config.is_null(key)) return 0;
  const double cap = config.number(key, fallback);
  if (config.has(key) && !(cap > 0))
    config.fail(key, fmt::format("expected a positive number or null, found {}", cap));
  return cap;
}

Architecture with_layers(ConfigReader& config, const LlamaDecoder& decoder, int full_every,
                         const RotaryByKind& rotary) {
  std::vector<bool> derived;
  for (int i = 0; i < decoder.architecture.layers; ++i)
    derived.push_back((i + 1) % full_every != 0);
  const bool null = config.is_null("sliding_window");
  const int window = null ? 0 : config.integer("sliding_window", 4096);
  Architecture architecture = decoder.with_kinds(
      sliding_layers(config, derived, null ? "sliding_window is null" : ""), window, rotary);
  for (LayerShape& layer : architecture.blocks)
    for (BlockShape& block : layer) block.norm_behind = true;
  return architecture;
}

}  // namespace

Architecture read_gemma2(ConfigReader& config) {
  LlamaDecoder decoder = read_gemma(config, kGemma2);
  decoder.attention.score_cap = read_cap(config, "attn_logit_softcapping", 50);
  decoder.architecture.logits_cap = read_cap(config, "final_logit_softcapping", 30);
  const Rotary rotary = read_rotary(config, decoder.attention.head_size, kGemma2.positions);
  return with_layers(config, decoder, 2, {rotary, rotary});
}

Architecture read_gemma3_text(ConfigReader& config) {
  constexpr LlamaDefaults kGemma3 = gemma3_defaults();
  LlamaDecoder decoder = read_gemma(config, kGemma3);
  decoder.attention.head_norms = AttentionShape::HeadNorms::kEachHead;
  // Stored, and applied by no version.
  if (!config.is_null("attn_logit_softcapping") && config.has("attn_logit_softcapping"))
    config.fail("attn_logit_softcapping",
                "caps scores, which transformers does not do in this family", "set it to null");
  decoder.architecture.logits_cap = read_cap(config, "final_logit_softcapping", 0);
  config.ignore({"_sliding_window_pattern"});
  const int full_every = config.integer("sliding_window_pattern", 6);
  return with_layers(config, decoder, full_every,
                     read_rotary_by_kind(config, decoder.attention.head_size,
                                         {kGemma3.positions, 1e6, 1e4, "rope_local_base_freq"}));
}

TensorTable gemma_tensors(const Architecture& architecture) {
  return llama_named_tensors(architecture, names());
}

NetworkParts gemma_parts(const Architecture& architecture, Weights& weights) {
  return llama_named_parts(architecture, weights, names());
}

}  // namespace factflow
