// Mass-editing memory: Meng et al. 2023, section 4: several facts at once, spread over several
// layers. Through the reference forward. Exact definitions: docs/locate.md.
#pragma once

#include <span>
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

// Whether what a layer's matrices give is what the stream gains: residuals of the stream are spread
// over them, so no norm and no factor may stand between the two.
bool adds_to_the_stream(const LayerShape& layer);

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

// The same with C' of each layer, as key_covariances() gives it, [in, in] on any device; undefined:
// C' = I.
MemitEdit memit_edit(Network& network, EditedMatrix matrix, const std::vector<int>& layers,
                     std::span<const at::Tensor> covariances, double weight,
                     const std::vector<EditRequest>& requests, const EditSettings& settings);

}  // namespace factflow
