// Phi-3, Phi-3.5, Phi-4 and Phi-4-mini (text), as transformers' Phi3ForCausalLM saves them: Llama
// with stacked matrices, a part of each head rotated, and LongRoPE.
#include "model/families/declarations.hpp"
#include "model/families/llama_decoder.hpp"
#include "model/families/rotary.hpp"

namespace factflow {
namespace {

constexpr LlamaDefaults kPhi3{.vocabulary = 32064,
                              .mlp_size = 8192,
                              .positions = 4096,
                              .key_heads = {},
                              .hidden = 3072,
                              .epsilon = 1e-5};

LlamaNames names() {
  LlamaNames names;
  names.fused = true;
  return names;
}

}  // namespace

Architecture read_phi3(ConfigReader& config) {
  LlamaDecoder decoder = read_llama_decoder(config, kPhi3);
  AttentionShape& attention = decoder.attention;
  attention.rotary = read_phi3_rotary(config, attention.head_size, kPhi3.positions);
  // Of all layers; absent or null: none.
  const bool slides = config.has("sliding_window") && !config.is_null("sliding_window");
  attention.sliding_window = slides ? config.integer("sliding_window") : 0;
  config.expect_layers("layer_types", decoder.architecture.layers,
                       {slides ? "sliding_attention" : "full_attention"});
  for (const char* key : {"attention_bias", "mlp_bias", "lm_head_bias"})
    config.expect_or_null(key, false);
  config.ignore({"auto_map"});
  return decoder.with_layers_alike();
}

TensorTable phi3_tensors(const Architecture& architecture) {
  return llama_named_tensors(architecture, names());
}

NetworkParts phi3_parts(const Architecture& architecture, Weights& weights) {
  return llama_named_parts(architecture, weights, names());
}

}  // namespace factflow
