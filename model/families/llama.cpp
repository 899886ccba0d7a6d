// Llama 2/3/3.x, Mistral and Qwen2/2.5: one decoder with small differences, as transformers saves
// them.
#include <fmt/format.h>

#include "model/families/declarations.hpp"
#include "model/families/llama_decoder.hpp"
#include "model/families/rotary.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

constexpr LlamaDefaults kLlama{.vocabulary = 32000,
                               .mlp_size = 11008,
                               .positions = 2048,
                               .key_heads = {},
                               .null_head_size = true,
                               .whole_heads = true};
constexpr LlamaDefaults kMistral{.vocabulary = 32000,
                                 .mlp_size = 14336,
                                 .positions = 131072,
                                 .key_heads = 8,
                                 .null_key_heads = false,
                                 .null_head_size = true,
                                 .null_dropout = false};
constexpr LlamaDefaults kQwen2{.vocabulary = 151936,
                               .mlp_size = 22016,
                               .positions = 32768,
                               .key_heads = 32,
                               .null_dropout = false};

LlamaDecoder read_decoder(ConfigReader& config, const LlamaDefaults& defaults) {
  LlamaDecoder decoder = read_llama_decoder(config, defaults);
  decoder.attention.rotary = read_rotary(config, decoder.attention.head_size, defaults.positions);
  return decoder;
}

// 0 = none, which null says; a file that does not mention it has the default of transformers'
// classes.
int read_window(ConfigReader& config) {
  return config.is_null("sliding_window") ? 0 : config.integer("sliding_window", 4096);
}

}  // namespace

Architecture read_llama(ConfigReader& config) {
  LlamaDecoder decoder = read_decoder(config, kLlama);
  AttentionShape& attention = decoder.attention;
  attention.query_key_value_bias = attention.output_bias = config.flag("attention_bias", false);
  decoder.mlp.bias = config.flag("mlp_bias", false);
  config.expect_layers("layer_types", decoder.architecture.layers, {"full_attention"});
  return decoder.with_layers_alike();
}

Architecture read_mistral(ConfigReader& config) {
  LlamaDecoder decoder = read_decoder(config, kMistral);
  decoder.attention.sliding_window = read_window(config);
  // The class treats all layers alike, whatever this list says; a list that says so is therefore
  // right.
  config.expect_layers(
      "layer_types", decoder.architecture.layers,
      {decoder.attention.sliding_window > 0 ? "sliding_attention" : "full_attention"});
  return decoder.with_layers_alike();
}

Architecture read_qwen2(ConfigReader& config) {
  LlamaDecoder decoder = read_decoder(config, kQwen2);
  decoder.attention.query_key_value_bias = true;
  config.ignore({"attention_bias"});  // the class does not read it; the tensors say
  const bool may_slide = config.flag("use_sliding_window", false);
  const int window = read_window(config), full_layers = config.integer("max_window_layers", 28, 0);
  std::vector<bool> derived;
  for (int i = 0; i < decoder.architecture.layers; ++i)
    derived.push_back(may_slide && window > 0 && i >= full_layers);
  const std::string none = !may_slide    ? "use_sliding_window is false"
                           : window == 0 ? "sliding_window is null"
                                         : "";
  return decoder.with_windows(sliding_layers(config, derived, none), window);
}

TensorTable llama_tensors(const Architecture& architecture) {
  return llama_named_tensors(architecture, {});
}

NetworkParts llama_parts(const Architecture& architecture, Weights& weights) {
  return llama_named_parts(architecture, weights, {});
}

}  // namespace factflow
