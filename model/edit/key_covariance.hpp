// Which keys an edit shall leave alone: second moments of a matrix's inputs over some text.
#pragma once

#include <span>
#include <vector>

#include <ATen/ATen.h>

#include "model/edit/edit_slot.hpp"

namespace factflow {

// A matrix of a layer.
struct MatrixAt {
  EditedMatrix matrix = EditedMatrix::kWo;
  int layer = 0;
  auto operator<=>(const MatrixAt&) const = default;
};

// (1 - shrinkage) C + shrinkage (tr C / n) I, [in, in], with C the mean over all tokens of all runs
// of k k^T, uncentred. Meng et al. 2022, section 3.1; the shrinkage is for runs with few tokens.
// Added up in float64, whatever the network computes in, with no more than one batch's keys kept
// (row_batches()); runs of a few hundred tokens do, since attention's and Mamba-2's matrices grow
// with the square of their length. Throws std::invalid_argument for no runs.
at::Tensor key_covariance(const EditSlot& slot, const std::vector<std::vector<int>>& runs,
                          double shrinkage);
// Of several matrices from one pass through the layers up to the last of them, in order; W_a, W_xbc
// and W_g of a layer have the same keys and share one tensor.
std::vector<at::Tensor> key_covariances(const Network& network, std::span<const MatrixAt> places,
                                        const std::vector<std::vector<int>>& runs,
                                        double shrinkage);

// C^-1 b of a covariance [n, n] and columns b [n, columns], by Cholesky's decomposition. Throws
// InputError if C is singular but for rounding.
at::Tensor solved(const at::Tensor& covariance, const at::Tensor& columns);

}  // namespace factflow
