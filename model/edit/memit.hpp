// Mass-editing memory: Meng et al. 2023, section 4: several facts at once, spread over several
// layers. Through the reference forward. Exact definitions: docs/locate.md.
#pragma once

#include <vector>

#include <ATen/ATen.h>

#include "model/edit/edit_request.hpp"
#include "model/edit/edit_slot.hpp"
#include "model/edit/key_covariance.hpp"

namespace factflow {

// One layer's part, a row per fact; float64, whatever the network computes in.
struct MemitStep {
  int layer = 0;
  at::Tensor keys;   // [facts, in]: means over the contexts, in the model as edited so far
  at::Tensor adj_k;  // [facts, in]: ((weight C' + K K^T)^-1 K)^T
  at::Tensor resid;  // [facts, out]: (z - current h) / number of layers left

  at::Tensor delta() const { return resid.t().matmul(adj_k); }  // [out, in], equation 14
};

struct MemitEdit {
  at::Tensor start, z;  // [facts, hidden]: h above the last layer, before and as wanted
  std::vector<std::vector<EditStep>> traces;  // per fact
  std::vector<MemitStep> steps;               // per layer, from below
};

struct MemitPlan {
  EditedMatrix matrix = EditedMatrix::kWdown;  // one that is added to the stream
  std::vector<int> layers;                     // ascending
  std::vector<std::vector<int>> runs;          // of the covariance, see key_covariance()
  double shrinkage = 0;
  double weight = 0;  // of the covariance against the facts
};

// The network is what it was, bit for bit, when this returns; each layer's delta is applied while
// the next is computed. Throws std::invalid_argument for no facts or layers that do not ascend, and
// as EditSlot, optimise(), key_covariance() and solved() do.
MemitEdit memit_edit(Network& network, const MemitPlan& plan,
                     const std::vector<EditRequest>& requests, const EditSettings& settings);

}  // namespace factflow
