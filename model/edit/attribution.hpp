// What a patch of every token and layer would do, estimated by gradients: attribution patching
// (Nanda 2023; Syed et al. 2023) and integrated gradients (Sundararajan et al. 2017). In float64,
// through the reference forward. Exact definitions: docs/locate.md.
#pragma once

#include <vector>

#include <ATen/ATen.h>

#include "model/intervention.hpp"
#include "model/network.hpp"

namespace factflow {

// Two prompts of equal length, and the token whose probability is looked at.
struct PromptPair {
  std::vector<int> clean, corrupted;
  int answer = 0;
};

// [tokens, layers] estimates of p(answer) of the corrupted run with the clean run's value at `site`
// of (token, layer), minus p(answer) without; layers 0 .. L for h, else 0 .. L - 1. Throw
// std::invalid_argument for prompts of different length and for sites that a layer does not have.

// (clean - corrupted) . gradient of p(answer), in the corrupted run: one forward and one backward
// pass for all.
at::Tensor gradient_map(const Network& network, const PromptPair& pair, Site site);
// (clean - corrupted) . mean of that gradient over `steps` midpoints of the way of this one value
// from corrupted to clean.
at::Tensor integrated_map(const Network& network, const PromptPair& pair, Site site, int steps = 5);

}  // namespace factflow
