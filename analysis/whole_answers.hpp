// Knockouts judged by the whole answer beside its first token. docs/beyond.md defines every number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "analysis/measured.hpp"
#include "analysis/run_data.hpp"
#include "analysis/verdicts.hpp"

namespace factflow {

// One edge of one model and window; over prompts whose answers have several tokens, since the two
// are one where it has one.
struct WholeAnswer {
  std::string model, family, edge;
  std::int64_t layers = 0, window = 0;
  std::vector<std::int32_t> starts;
  std::size_t single = 0;  // prompts left out: an answer of one token
  std::size_t n = 0, facts = 0;
  double tokens = 0;                   // mean of the answers'
  Measured clean_first, clean_whole;   // ln p
  std::vector<Measured> first, whole;  // [start] mean log change
  std::vector<Measured> later;         // whole less first: of the tokens behind the first
  std::size_t start = 0;               // place of the lowest mean of `first`
  Measured later_share;                // mean(later) / mean(whole) there
  bool main = true;                    // at the window of the findings, or the model's largest
};

std::vector<WholeAnswer> study_whole_answers(const RunData& run, std::int64_t common,
                                             const CleanLimits& limits,
                                             const BootstrapOptions& options);
Claim judge_whole_answers(const std::vector<WholeAnswer>& answers);
// A smaller share of the whole answer's change is called nothing.
inline constexpr double kSmallLater = 0.1;

}  // namespace factflow
