// The floor of a replay: its matrix products and nothing else.
#pragma once

#include <cstdint>
#include <map>

#include "model/network.hpp"
#include "model/replay/replay.hpp"
#include "model/workspace.hpp"

namespace factflow {

// The products of the recorded passes, with the number types of the replay's. Inputs are taken from
// one large factor of random numbers, outputs go to one matrix or are added to another one.
class ProductFloor {
 public:
  // Both outlive it. logits_rows: ReplayEngine::logits_rows().
  ProductFloor(const Network& network, const ReplayCost& cost, std::int64_t logits_rows);
  void multiply_all();

 private:
  void prepare(const Projection& product);
  void multiply_one(const LayerProduct& product, std::int64_t columns);

  const Network& network_;
  const ReplayCost& cost_;
  std::int64_t logits_rows_, most_ = 1;
  Workspace workspace_;
  std::map<std::int64_t, Factor> factors_;  // by width
  Factor head_factor_;
  at::Tensor residual_;
};

// Floating-point operations of these products.
double flops_of(const Network& network, const ReplayCost& cost);

}  // namespace factflow
