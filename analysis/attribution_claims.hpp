// What is said of gradient estimates of causal traces, put to the test of this run against the
// exact effects: where they can be trusted.
#pragma once

#include <vector>

#include "analysis/attributions.hpp"
#include "analysis/effects.hpp"
#include "analysis/verdicts.hpp"

namespace factflow {

// The claims, in this order: the gradient's estimates rank values as patching does; they are worse
// for the stream than for what a block adds; integrated gradients are better than one gradient.
// Empty without estimates; a claim without models where none has what it compares.
std::vector<Claim> judge_attribution_claims(const std::vector<ModelAttributions>& models,
                                            const BootstrapOptions& bootstrap);

}  // namespace factflow
