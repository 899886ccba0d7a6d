// What the families of transformers share: layers of attention and an MLP.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/block.hpp"
#include "model/config_reader.hpp"
#include "model/mixers/attention/attention.hpp"
#include "model/mixers/mlp/mlp.hpp"

namespace factflow {

class Weights;

// Score scale of all of them: 1 / sqrt(head size).
double score_scale(int head_size);

LayerShape decoder_layer(const AttentionShape& attention, const MlpShape& mlp,
                         bool parallel = false);

// The rotations of an architecture in which every layer rotates alike; null if none does.
std::shared_ptr<RotaryTables> rotations_of(const Rotary& rotary, const Weights& weights);

// The same where layers differ: those that rotate alike share their tables.
class RotationCache {
 public:
  explicit RotationCache(const Weights& weights) : weights_(weights) {}
  std::shared_ptr<RotaryTables> of(const Rotary& rotary);

 private:
  const Weights& weights_;
  std::vector<std::pair<Rotary, std::shared_ptr<RotaryTables>>> known_;
};

kernels::Activation read_activation(ConfigReader& config, const std::string& key,
                                    const std::string& fallback);

}  // namespace factflow
