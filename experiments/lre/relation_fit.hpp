// Linear relations of several layers at once: what fit_relation() (model/edit/lre.hpp) gives for
// each, by the same backward passes for all of them, many side by side.
#pragma once

#include <vector>

#include <ATen/ATen.h>

#include "model/edit/lre.hpp"
#include "model/network.hpp"

namespace factflow {

// Of one layer, in the network's wide numbers; d = its width.
struct RelationFit {
  at::Tensor w, b;  // [d, d], [d]: means of J and of z - J s over the prompts
};

// [layer] of `layers`, 0 .. L. d backward passes through the forward per prompt, as many together
// as kTokensAtOnce (model/reference/reference_rows.hpp) allows. Throws std::invalid_argument for no
// prompts or layers, and for tokens or layers that there are not.
std::vector<RelationFit> fit_relation_at(const Network& network,
                                         const std::vector<RelationPrompt>& prompts,
                                         const std::vector<int>& layers);

// What low_rank_inverse() of each rank makes of some vectors, by one decomposition.
class LowRankInverses {
 public:
  explicit LowRankInverses(const at::Tensor& w);
  // [rows, d] -> [rows, d]
  at::Tensor applied(const at::Tensor& vectors, int rank) const;

 private:
  at::Tensor u_, values_, vh_;  // of the singular values that are not rounding
};

}  // namespace factflow
