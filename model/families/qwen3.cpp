// Qwen3 (dense), as transformers' Qwen3ForCausalLM saves it: Llama with a norm of each query and
// key head.
#include "model/families/declarations.hpp"
#include "model/families/llama_decoder.hpp"
#include "model/families/rotary.hpp"

namespace factflow {
namespace {

constexpr LlamaDefaults kQwen3{
    .vocabulary = 151936, .mlp_size = 22016, .positions = 32768, .key_heads = 32, .head_size = 128};

}  // namespace

Architecture read_qwen3(ConfigReader& config) {
  LlamaDecoder decoder = read_llama_decoder(config, kQwen3);
  AttentionShape& attention = decoder.attention;
  attention.head_norms = AttentionShape::HeadNorms::kEachHead;
  attention.query_key_value_bias = attention.output_bias = config.flag("attention_bias", false);
  attention.rotary = read_rotary(config, attention.head_size, kQwen3.positions);
  const bool may_slide = config.flag("use_sliding_window", false);
  // Null is none; absent is the class's.
  const int window =
      config.is_null("sliding_window") || !may_slide ? 0 : config.integer("sliding_window", 4096);
  if (!may_slide) config.ignore({"sliding_window"});
  const int full_layers = config.integer("max_window_layers", 28, 0);
  std::vector<bool> derived;
  for (int i = 0; i < decoder.architecture.layers; ++i)
    derived.push_back(window > 0 && i >= full_layers);
  const std::string none = !may_slide    ? "use_sliding_window is false"
                           : window == 0 ? "sliding_window is null"
                                         : "";
  return decoder.with_windows(sliding_layers(config, derived, none), window);
}

TensorTable qwen3_tensors(const Architecture& architecture) {
  return llama_named_tensors(architecture, {});
}

NetworkParts qwen3_parts(const Architecture& architecture, Weights& weights) {
  return llama_named_parts(architecture, weights, {});
}

}  // namespace factflow
