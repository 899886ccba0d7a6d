// Knockouts that act together against the sum of what each does alone. A row of the section
// `intervene` that is called "A & B" (or "A & B & C") is held against the rows "A" and "B" of the
// same model, window and set of prompts. docs/beyond.md defines every number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "analysis/measured.hpp"
#include "analysis/run_data.hpp"
#include "analysis/verdicts.hpp"

namespace factflow {

// At one start of the windows; log changes, ln(p / p_clean).
struct CombinedPoint {
  std::vector<Measured> alone;  // [part]
  Measured together, sum;
  Measured interaction;  // together - sum: 0 = they add up
  // Relative changes in percent: cannot add up below -100.
  double change_together = 0, change_sum = 0;
};

struct Combined {
  std::string model, family, prompts;  // prompts: the set
  std::int64_t layers = 0, window = 0;
  std::string label;               // of the row
  std::vector<std::string> parts;  // labels of rows
  std::vector<std::int32_t> starts;
  std::size_t n = 0, facts = 0;       // prompts in which all of them are valid at every start
  std::vector<CombinedPoint> points;  // [start]; empty for n = 0
  std::size_t strongest = 0;          // the place of the start with the lowest mean sum
  // mean(interaction) / |mean(sum)| there: 0 = they add up, > 0 = together less than the sum.
  Measured share;
  // Means of the interaction over the first, middle and last third of the starts.
  std::vector<Measured> thirds;
  bool main = true;  // of the model's main set, at the window of the findings
};

// Of every model, set and window. `common`: the window of the findings.
std::vector<Combined> study_combined(const RunData& run, std::int64_t common,
                                     const BootstrapOptions& options);

// "subject->last" of the row "A & B" with A: the parts of a label, if it has several.
std::vector<std::string> parts_of_row(const std::string& label);

// Whether its parts add up: by the share, at the start where the mean sum is lowest.
Judged judge_combination(const Combined& combined);
// "Do two knockouts add up?"; without models where no such rows were asked for.
Claim judge_combined(const std::vector<Combined>& combined);
// "They add up: ...; they overlap: ...; cannot tell: ..." of a model's main set.
std::string combined_in_words(const std::vector<Combined>& combined, const std::string& model);
// A smaller share of the sum is called nothing.
inline constexpr double kSmallShare = 0.1;

}  // namespace factflow
