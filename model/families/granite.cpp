// Granite 3, as transformers' GraniteForCausalLM saves it: Llama with four multipliers.
#include <fmt/format.h>

#include "model/families/declarations.hpp"
#include "model/families/llama_decoder.hpp"
#include "model/families/rotary.hpp"

namespace factflow {
namespace {

constexpr LlamaDefaults kGranite{
    .vocabulary = 32000, .mlp_size = 11008, .positions = 2048, .key_heads = {}};

double read_multiplier(ConfigReader& config, const char* key) {
  const double multiplier = config.number(key, 1);
  if (!(multiplier > 0))
    config.fail(key, fmt::format("expected a positive number, found {}", multiplier));
  return multiplier;
}

}  // namespace

Architecture read_granite(ConfigReader& config) {
  LlamaDecoder decoder = read_llama_decoder(config, kGranite);
  AttentionShape& attention = decoder.attention;
  attention.query_key_value_bias = attention.output_bias = config.flag("attention_bias", false);
  decoder.mlp.bias = config.flag("mlp_bias", false);
  attention.rotary = read_rotary(config, attention.head_size, kGranite.positions);
  // Instead of 1 / sqrt(head size).
  attention.scale = read_multiplier(config, "attention_multiplier");
  decoder.architecture.embedding_scale = read_multiplier(config, "embedding_multiplier");
  decoder.architecture.logits_divisor = read_multiplier(config, "logits_scaling");
  config.expect_layers("layer_types", decoder.architecture.layers, {"full_attention"});
  Architecture architecture = decoder.with_layers_alike();
  const double share = read_multiplier(config, "residual_multiplier");
  for (LayerShape& layer : architecture.blocks)
    for (BlockShape& block : layer) block.scale = share;
  return architecture;
}

TensorTable granite_tensors(const Architecture& architecture) {
  return llama_named_tensors(architecture, {});
}

NetworkParts granite_parts(const Architecture& architecture, Weights& weights) {
  return llama_named_parts(architecture, weights, {});
}

}  // namespace factflow
