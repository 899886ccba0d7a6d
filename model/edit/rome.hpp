// Rank-one model editing: Meng et al. 2022, section 3.1; the matrices of a Mamba: Sharma et al.
// 2024, section 4. Through the reference forward. Exact definitions: docs/locate.md.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include <ATen/ATen.h>

#include "model/edit/edit_request.hpp"
#include "model/edit/edit_slot.hpp"
#include "model/edit/key_covariance.hpp"

namespace factflow {

// Which keys an edit shall leave alone: those of some text. Absent runs: all alike, C' = I.
struct KeyStatistics {
  std::optional<std::vector<std::vector<int>>> runs;
  double shrinkage = 0;  // towards a multiple of I
};

// All vectors are float64, [in] or [out] of the matrix, whatever the network computes in.
struct RomeEdit {
  at::Tensor k0, c0;  // input and output at the subject's last token of the bare prompt
  at::Tensor k_bar;   // the mean of the input over the contexts
  at::Tensor u;       // C'^-1 k_bar, of norm 1
  at::Tensor v0, v_star, first_gradient;
  at::Tensor r;  // (v_star - c0) / (u . k0)
  std::vector<EditStep> trace;

  at::Tensor delta() const { return at::outer(r, u); }  // [out, in], equation 2
};

// Computes an edit and changes nothing; AppliedEdit applies it. Throws as EditSlot, optimise(),
// key_covariance() and solved() do.
RomeEdit rome_edit(const Network& network, EditedMatrix matrix, int layer,
                   const EditRequest& request, const KeyStatistics& statistics,
                   const EditSettings& settings);

// Edits of one matrix, each as if it were the only one, computed side by side. `covariance` [in,
// in], on any device, is what key_covariance() gave; undefined: C' = I. What comes out for one
// depends on nothing but its request and the other arguments, up to rounding.
std::vector<RomeEdit> rome_edits(const Network& network, EditedMatrix matrix, int layer,
                                 std::span<const EditRequest> requests,
                                 const at::Tensor& covariance, const EditSettings& settings);

}  // namespace factflow
