// Whether the effect of a knockout depends on where the subject stands and how far the last token
// is: the same prompts with neutral text of several lengths. docs/beyond.md defines every number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "analysis/measured.hpp"
#include "analysis/run_data.hpp"
#include "analysis/verdicts.hpp"

namespace factflow {

struct PositionPoint {
  std::int64_t length = 0;              // neutral tokens
  double distance = 0, subject_at = 0;  // means over prompts, in tokens
  Measured clean;                       // ln p of the answer without a knockout
  double right = 0;                     // share of prompts whose answer is the likeliest token then
  Measured effect;                      // mean log change at the start of the comparison
  Measured against_none;                // effect / effect without neutral text, same prompts
  std::vector<Measured> by_start;       // mean log change
  std::size_t n = 0, facts = 0;
};

// One edge with neutral text at one place, over the prompts that have all lengths.
struct PositionCurve {
  std::string model, family, edge, place;
  std::int64_t layers = 0, window = 0;
  std::vector<std::int32_t> starts;
  std::size_t start = 0;  // place of the start with the lowest mean log change without neutral text
  std::vector<PositionPoint> points;  // by length, 0 first; empty: no prompt has all of them
  std::size_t too_long = 0;           // prompts that some length does not fit or that lack the edge
  bool main = true;                   // at the window of the findings, or the model's largest
};

std::vector<PositionCurve> study_positions(const RunData& run, std::int64_t common,
                                           const CleanLimits& limits,
                                           const BootstrapOptions& options);
Claim judge_positions(const std::vector<PositionCurve>& curves);
// An effect within this share of that without neutral text is called unchanged.
inline constexpr double kSameEffect = 0.25;

}  // namespace factflow
