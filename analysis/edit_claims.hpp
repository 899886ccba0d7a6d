// What Sharma, Atkinson and Bau (arXiv 2404.03646), section 4, claim of edits, put to the test of
// this run.
#pragma once

#include <vector>

#include "analysis/edits.hpp"
#include "analysis/verdicts.hpp"

namespace factflow {

// That W_o of Mamba models is the best place to edit. Empty without edits.
std::vector<Claim> judge_edit_claims(const std::vector<ModelEdits>& edits,
                                     const BootstrapOptions& bootstrap);

}  // namespace factflow
