// What the clean runs of a unit would have said.
#pragma once

#include <cstdint>
#include <vector>

#include "experiments/evaluate/evaluate.hpp"
#include "workers/unit.hpp"

namespace factflow {

// Answers of these ranks; 0 = the prompt failed.
inline UnitResult clean_runs(const std::vector<std::int32_t>& ranks) {
  UnitResult result;
  for (const std::int32_t rank : ranks) {
    PromptEvaluation evaluation;
    evaluation.rank = rank;
    result.prompts.push_back({rank == 0 ? "broken" : "", encode(evaluation)});
    if (rank == 0) ++result.report.failed;
  }
  return result;
}

}  // namespace factflow
