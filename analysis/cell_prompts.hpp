// The prompts of arrays that stand beside the cells of knockouts: which fact each says, and whether
// it counts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "analysis/run_data.hpp"

namespace factflow {

struct CellPrompt {
  std::size_t row = 0;   // of RunData::prompts
  std::size_t fact = 0;  // prompts of one subject and relation say one
  bool used = true;      // its clean probability is within the limits
};

// Of prompts by their ids in RunData::prompts, in order. What has no clean probability cannot be
// held against limits.
std::vector<CellPrompt> cell_prompts(const RunData& run, const ModelData& model,
                                     const std::vector<std::int64_t>& ids,
                                     const CleanLimits& limits);

}  // namespace factflow
