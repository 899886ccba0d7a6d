// What Endy et al., ACL 2025 (arXiv 2505.24244), section 5, claim of knockouts, put to the test of
// this run.
#pragma once

#include <vector>

#include "analysis/effects.hpp"
#include "analysis/sensitivity.hpp"
#include "analysis/verdicts.hpp"

namespace factflow {

// `effects` of one window size for each model, corrected together (effects.hpp).
std::vector<Claim> judge_claims(const std::vector<EdgeEffect>& effects,
                                const std::vector<ChannelRatio>& channels,
                                const std::vector<SensitivityPair>& sensitivity);

}  // namespace factflow
