// Compares two results files, dataset by dataset and bit by bit.
#pragma once

#include <filesystem>
#include <string>

namespace factflow::testing {

// The first difference in words, or "" if all datasets and the facts about the models are equal.
// What tells of a launch is left out: times, host, device, paths.
std::string results_difference(const std::filesystem::path& ours,
                               const std::filesystem::path& theirs);

}  // namespace factflow::testing
