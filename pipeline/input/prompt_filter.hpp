// Which prompts of a dataset a run uses.
#pragma once

#include <cstddef>
#include <vector>

#include "model/prompt.hpp"
#include "pipeline/input/dataset.hpp"

namespace factflow {

// Positions of the prompts that pass relations, ids, `wanted`, sample and limit, in this order;
// ascending. Throws InputError if a relation or an id of the configuration does not exist, or if
// nothing is left.
std::vector<size_t> filter_prompts(const std::vector<Prompt>& prompts, const DatasetConfig& config,
                                   const WantedIds& wanted = std::nullopt);

// `count` of the positions 0 .. total-1, ascending; all if there are fewer. The same for the same
// seed on every machine: the head of a Fisher-Yates shuffle with std::mt19937_64 and draws by
// rejection.
std::vector<size_t> sample_positions(size_t total, size_t count, std::uint64_t seed);

}  // namespace factflow
