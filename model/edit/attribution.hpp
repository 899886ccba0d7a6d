// What a patch of every token and layer would do, estimated by gradients: attribution patching
// (Nanda 2023; Syed et al. 2023) and integrated gradients (Sundararajan et al. 2017). In the
// network's wide number type, through the reference forward. Exact definitions: docs/locate.md.
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

inline constexpr int kUsualSteps = 5;  // of integrated gradients

// [site][pair]: [tokens, layers] float64 on the CPU, estimates of p(answer) of the corrupted run
// with the clean run's value at `site` of (token, layer), minus p(answer) without; layers 0 .. L
// for h, else 0 .. L - 1. 0 before the first token that differs. Throw std::invalid_argument for
// prompts of different length, tokens that there are not, and sites that a layer does not have.
using EstimateMaps = std::vector<std::vector<at::Tensor>>;

// (clean - corrupted) . gradient of p(answer), in the corrupted run: one backward pass for all
// sites, layers and tokens, many pairs side by side, one layer's graph at a time.
EstimateMaps gradient_maps(const Network& network, const std::vector<PromptPair>& pairs,
                           const std::vector<Site>& sites);
// (clean - corrupted) . mean of that gradient over `steps` midpoints of the way of this one value
// from corrupted to clean: `steps` backward passes for every token, layer and site, as many of one
// layer and site together as kTokensAtOnce (model/reference/reference_rows.hpp) allows.
EstimateMaps integrated_maps(const Network& network, const std::vector<PromptPair>& pairs,
                             const std::vector<Site>& sites, int steps = kUsualSteps);

}  // namespace factflow
