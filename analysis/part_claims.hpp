// What is asked beyond the paper of parts of edges and of paths, as statements with verdicts.
#pragma once

#include <vector>

#include "analysis/parts.hpp"
#include "analysis/paths.hpp"
#include "analysis/verdicts.hpp"

namespace factflow {

inline constexpr const char* kBeyondSource = "beyond the paper (docs/beyond.md)";

// Whether slow slices carry more than random ones, and whether the state alone misses less than a
// tenth of what it does together with the convolution; by their intervals.
Judged judge_slow(const SlowAgainstRandom& of);
Judged judge_missed(const MissedPath& of);

// Only those that the run has something to say to. At the window that findings are about, else at
// the largest of each model.
std::vector<Claim> judge_part_claims(const std::vector<ModelParts>& parts, std::int64_t window);
std::vector<Claim> judge_path_claims(const std::vector<ModelPaths>& paths, std::int64_t window);

}  // namespace factflow
