// One site's value at some tokens, replaced by zero, by the mean over other prompts, or by another
// prompt's value, in the same windows: where the verdict depends on the choice. Rows of the section
// `intervene` called "WHAT = zero", "WHAT = mean", "WHAT = resample". docs/beyond.md defines every
// number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "analysis/measured.hpp"
#include "analysis/run_data.hpp"
#include "analysis/verdicts.hpp"

namespace factflow {

// What a baseline says at a start, by the interval of the mean log change.
enum class Reading { kLowers, kLittle, kRaises, kOpen };
std::string to_string(Reading reading);  // "lowers", "little", "raises", "open"
// A smaller log change (about 10 % of the probability) is called little.
inline constexpr double kLittleLogChange = 0.1;
Reading reading_of(const Measured& log_change);

struct BaselineCurve {
  std::string baseline;          // "zero", "mean", "resample"
  std::vector<Measured> log;     // [start]
  std::vector<Reading> reading;  // [start]
  std::size_t lowest = 0;        // the place of the lowest mean
};

// Two baselines whose readings differ at a start, both decided, and whose paired difference is not
// zero.
struct Disagreement {
  std::size_t first = 0, second = 0, start = 0;  // indices of curves; place of the start
  Measured difference;                           // second less first, paired
};

struct Baselines {
  std::string model, family, prompts;
  std::int64_t layers = 0, window = 0;
  std::string what;  // "s(subject)"
  std::vector<std::int32_t> starts;
  std::size_t n = 0, facts = 0;       // prompts valid with every baseline at every start
  std::vector<BaselineCurve> curves;  // at least two, zero first; without numbers for n = 0
  std::vector<Disagreement> disagreements;
  std::size_t all_decided = 0;  // starts at which every baseline has a reading
  bool main = true;             // of the model's main set, at the window of the findings
};

std::vector<Baselines> study_baselines(const RunData& run, std::int64_t common,
                                       const BootstrapOptions& options);
Claim judge_baselines(const std::vector<Baselines>& baselines);

}  // namespace factflow
