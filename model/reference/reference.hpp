// Every family's forward in plain libtorch operations: one prompt, all tokens, all layers, every
// token-mixing matrix and intervention materialised, differentiable. Slow on purpose. It referees
// the engine, of which it uses the weights and no kernel.
//
// Each mixer's part stands with it: model/mixers/*/reference.cpp.
#pragma once

#include <map>
#include <span>
#include <vector>

#include <ATen/ATen.h>

#include "model/intervention.hpp"
#include "model/network.hpp"
#include "model/reference/prompt_pass.hpp"

namespace factflow {

class ReferenceForward {
 public:
  // Computes on the network's device in its wide number type (model/precision.hpp): float64 in
  // fp64, else float32. The network must outlive it.
  explicit ReferenceForward(const Network& network) : network_(network) {}

  struct Result {
    at::Tensor logits;                    // [tokens, vocabulary]
    std::map<SiteAt, at::Tensor> values;  // [tokens, width] for each read
  };
  // Reads give the value after the interventions at that site. Throws std::invalid_argument for
  // tokens, layers, sites, channels or edges that the model or the prompt does not have. Values of
  // clean runs are constants to autograd. Where gradients are on (at::GradMode), what is computed
  // from a value that was read carries a graph, so that torch::autograd::grad gives the gradient
  // with respect to it; so does what is computed from tensors that require a gradient.
  Result run(const std::vector<int>& ids, std::span<const Intervention> interventions = {},
             std::span<const SiteAt> reads = {}, std::span<const TensorWrite> tensors = {}) const;

  // log_softmax of the last token's logits, float64 [vocabulary].
  at::Tensor log_probabilities(const std::vector<int>& ids,
                               std::span<const Intervention> interventions = {}) const;

 private:
  void check(const Intervention& intervention, int tokens) const;
  void check(const TensorWrite& write, int tokens) const;
  Result forward(const std::vector<int>& ids, PromptPass& pass) const;

  const Network& network_;
};

}  // namespace factflow
