#include "model/families/decoder.hpp"

#include <cmath>

#include <fmt/format.h>

#include "model/weights.hpp"

namespace factflow {

double score_scale(int head_size) {
  return 1.0 / std::sqrt(head_size);
}

LayerShape decoder_layer(const AttentionShape& attention, const MlpShape& mlp, bool parallel) {
  return {{std::make_shared<AttentionShape>(attention), parallel},
          {std::make_shared<MlpShape>(mlp)}};
}

std::shared_ptr<RotaryTables> rotations_of(const Rotary& rotary, const Weights& weights) {
  if (rotary.dimensions == 0) return nullptr;
  return std::make_shared<RotaryTables>(
      rotary, at::TensorOptions().dtype(wide_type(weights.precision())).device(weights.device()));
}

std::shared_ptr<RotaryTables> RotationCache::of(const Rotary& rotary) {
  for (const auto& [known, tables] : known_)
    if (known == rotary) return tables;
  known_.emplace_back(rotary, rotations_of(rotary, weights_));
  return known_.back().second;
}

kernels::Activation read_activation(ConfigReader& config, const std::string& key,
                                    const std::string& fallback) {
  const std::string name = config.word(key, fallback);
  if (name == "silu" || name == "swish") return kernels::Activation::kSilu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast")
    return kernels::Activation::kGeluTanh;
  if (name == "gelu") return kernels::Activation::kGelu;
  if (name == "relu") return kernels::Activation::kRelu;
  config.fail(
      key, fmt::format("supported are silu, gelu, gelu_new, gelu_pytorch_tanh and relu, found '{}'",
                       name));
}

}  // namespace factflow
