// What Sharma, Atkinson and Bau (arXiv 2404.03646), section 6, claim of linear relational
// embeddings, put to the test of this run.
#pragma once

#include <vector>

#include "analysis/linear_relations.hpp"
#include "analysis/verdicts.hpp"

namespace factflow {

// That some relations are linear and others are not. `level` = confidence level of the intervals.
// Empty without relations.
std::vector<Claim> judge_relation_claims(const std::vector<ModelRelations>& models, double level);

}  // namespace factflow
