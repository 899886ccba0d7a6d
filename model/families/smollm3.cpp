// SmolLM3, as transformers' SmolLM3ForCausalLM saves it: Llama in which some layers do not rotate.
#include <fmt/format.h>

#include "model/families/declarations.hpp"
#include "model/families/llama_decoder.hpp"
#include "model/families/rotary.hpp"

namespace factflow {
namespace {

constexpr LlamaDefaults kSmolLm3{.vocabulary = 128256,
                                 .mlp_size = 11008,
                                 .positions = 32768,
                                 .key_heads = 4,
                                 .hidden = 2048,
                                 .layers = 36,
                                 .heads = 16,
                                 .theta = 2e6,
                                 .tied = true};

// no_rope_layers: 1 = the layer rotates. Without it one in no_rope_layer_interval does not.
std::vector<bool> rotating_layers(ConfigReader& config, int layers) {
  const int interval = config.integer("no_rope_layer_interval", 4);
  const nlohmann::json& list = config.raw("no_rope_layers");
  if (!list.is_null() && (!list.is_array() || list.size() != static_cast<size_t>(layers)))
    config.fail("no_rope_layers", fmt::format("expected a list of {} layers", layers));
  std::vector<bool> rotates;
  for (int i = 0; i < layers; ++i) {
    rotates.push_back((i + 1) % interval != 0);
    if (list.is_null()) continue;
    const nlohmann::json& one = list.at(static_cast<size_t>(i));
    if (one != 0 && one != 1)
      config.fail("no_rope_layers", fmt::format("expected 0 or 1, found {}", one.dump()));
    rotates.back() = one == 1;
  }
  return rotates;
}

}  // namespace

Architecture read_smollm3(ConfigReader& config) {
  LlamaDecoder decoder = read_llama_decoder(config, kSmolLm3);
  AttentionShape& attention = decoder.attention;
  attention.query_key_value_bias = attention.output_bias = config.flag("attention_bias", false);
  decoder.mlp.bias = config.flag("mlp_bias", false);
  const Rotary rotary =
      read_rotary(config, attention.head_size, kSmolLm3.positions, kSmolLm3.theta);
  const std::vector<bool> rotates = rotating_layers(config, decoder.architecture.layers);
  const bool may_slide = config.flag("use_sliding_window", false);
  const bool given = config.has("sliding_window") && !config.is_null("sliding_window");
  const int window = may_slide && given ? config.integer("sliding_window") : 0;
  std::vector<bool> derived;
  for (const bool rotating : rotates) derived.push_back(window > 0 && !rotating);
  const std::string none = !may_slide    ? "use_sliding_window is false"
                           : window == 0 ? "sliding_window is null"
                                         : "";
  config.ignore({"max_window_layers"});
  if (!may_slide) config.ignore({"sliding_window"});
  const std::vector<bool> slides = sliding_layers(config, derived, none);
  Architecture architecture = decoder.architecture;
  for (size_t i = 0; i < rotates.size(); ++i) {
    AttentionShape own = attention;
    if (rotates[i]) own.rotary = rotary;
    own.sliding_window = slides[i] ? window : 0;
    architecture.blocks.push_back(decoder_layer(own, decoder.mlp));
  }
  return architecture;
}

TensorTable smollm3_tensors(const Architecture& architecture) {
  return llama_named_tensors(architecture, {});
}

NetworkParts smollm3_parts(const Architecture& architecture, Weights& weights) {
  return llama_named_parts(architecture, weights, {});
}

}  // namespace factflow
