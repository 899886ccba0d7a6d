// Linear relational embeddings (Hernandez et al. 2024): what a relation does to a subject's state,
// as an affine map. In float64, through the reference forward. Exact definitions: docs/locate.md.
#pragma once

#include <vector>

#include <ATen/ATen.h>

#include "model/network.hpp"

namespace factflow {

struct RelationPrompt {
  std::vector<int> ids;
  int subject_last = 0;  // place of the subject's last token
};

// d = the network's width; float64.
struct RelationJacobian {
  at::Tensor s;  // [d] h at (layer, subject's last token)
  at::Tensor z;  // [d] h after the last layer, at the last token
  at::Tensor j;  // [d, d] dz/ds
};

// z ~ beta W s + b. Section 3.2, equations 2 to 5.
struct LinearRelation {
  int layer = 0;
  at::Tensor w, b;                      // [d, d], [d]: means of J and of z - J s
  std::vector<RelationJacobian> parts;  // per prompt

  at::Tensor predicted(const at::Tensor& s, double beta) const { return beta * w.mv(s) + b; }
};

// All throw std::invalid_argument for tokens or layers that the prompt or the network does not
// have. Layers 0 .. L. d backward passes through the forward per prompt.
RelationJacobian relation_jacobian(const Network& network, const RelationPrompt& prompt, int layer);
// Throws std::invalid_argument for no prompts.
LinearRelation fit_relation(const Network& network, const std::vector<RelationPrompt>& prompts,
                            int layer);

// s and z of a clean run, without the Jacobian.
RelationJacobian relation_states(const Network& network, const RelationPrompt& prompt, int layer);

// Logits [vocabulary] of a stream after the last layer, [d]: final norm and unembedding.
at::Tensor read_out(const Network& network, const at::Tensor& z);

// Singular values, largest first, [d]. Those below 1e-10 of the largest are 0: they are rounding.
at::Tensor singular_values(const at::Tensor& w);
// The pseudo-inverse [d, d] of the best approximation of this rank, or of all non-zero singular
// values if these are fewer. Section 4.2.
at::Tensor low_rank_inverse(const at::Tensor& w, int rank);

// log p [vocabulary] after the prompt with `shift` [d] added to h at (layer, subject's last token).
at::Tensor shifted_log_probabilities(const Network& network, const RelationPrompt& prompt,
                                     int layer, const at::Tensor& shift);

}  // namespace factflow
