// OLMo-2 and OLMo-3, as transformers' Olmo2ForCausalLM and Olmo3ForCausalLM save them: norms stand
// behind the blocks alone, so attention and MLP read the stream itself, and one norm goes over all
// heads of queries, and of keys. OLMo-3 has windows, and rotations by kind of layer.
#include "model/families/declarations.hpp"
#include "model/families/llama_decoder.hpp"
#include "model/families/rotary.hpp"

namespace factflow {
namespace {

constexpr LlamaDefaults kOlmo{
    .vocabulary = 50304, .mlp_size = 11008, .positions = 2048, .key_heads = {}, .epsilon = 1e-5};
constexpr double kOlmo3Theta = 500000;
constexpr int kFullEvery = 4;  // layers, where layer_types does not say which slide

LlamaNames names() {
  LlamaNames names;
  names.attention = names.mlp = "";
  names.attention_behind = "post_attention_layernorm";
  names.mlp_behind = "post_feedforward_layernorm";
  return names;
}

LlamaDecoder read_olmo(ConfigReader& config) {
  LlamaDecoder decoder = read_llama_decoder(config, kOlmo);
  AttentionShape& attention = decoder.attention;
  attention.head_norms = AttentionShape::HeadNorms::kAllHeads;
  attention.query_key_value_bias = attention.output_bias = config.flag("attention_bias", false);
  return decoder;
}

Architecture with_norms_behind(Architecture architecture) {
  for (LayerShape& layer : architecture.blocks)
    for (BlockShape& block : layer) block.norm_behind = true;
  return architecture;
}

}  // namespace

Architecture read_olmo2(ConfigReader& config) {
  LlamaDecoder decoder = read_olmo(config);
  decoder.attention.rotary =
      read_rotary(config, decoder.attention.head_size, kOlmo.positions, kOlmo.theta);
  config.expect_layers("layer_types", decoder.architecture.layers, {"full_attention"});
  return with_norms_behind(decoder.with_layers_alike());
}

Architecture read_olmo3(ConfigReader& config) {
  LlamaDecoder decoder = read_olmo(config);
  const RotaryByKind rotary = read_rotary_by_kind(
      config, decoder.attention.head_size, {kOlmo.positions, kOlmo3Theta, kOlmo3Theta, nullptr});
  std::vector<bool> derived;
  for (int i = 0; i < decoder.architecture.layers; ++i)
    derived.push_back((i + 1) % kFullEvery != 0);
  const bool null = config.is_null("sliding_window");
  const int window = null ? 0 : config.integer("sliding_window", 4096);
  return with_norms_behind(decoder.with_kinds(
      sliding_layers(config, derived, null ? "sliding_window is null" : ""), window, rotary));
}

TensorTable olmo_tensors(const Architecture& architecture) {
  return llama_named_tensors(architecture, names());
}

NetworkParts olmo_parts(const Architecture& architecture, Weights& weights) {
  return llama_named_parts(architecture, weights, names());
}

}  // namespace factflow
