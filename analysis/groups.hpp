// Does an edge matter more for some prompts than for others? Effects by relation, subject length
// and distance.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "analysis/run_data.hpp"
#include "analysis/statistics.hpp"

namespace factflow {

enum class Grouping {
  kRelation,       // the dataset's relation id
  kSubjectLength,  // tokens of the subject
  kDistance,  // tokens after the subject's end: 1 = the subject's last token is the last but one of
              // the prompt
};

// One group of the prompts that are valid at every start.
struct GroupEffect {
  std::string model;
  EdgeName edge;
  std::int64_t window = 0;
  std::string group;  // relation id, or a number of tokens
  std::size_t n = 0, facts = 0;
  std::int64_t common_start = 0;  // where the curve of all prompts is lowest
  double common_change = 0;       // the group's mean relative change there, percent
  Interval common_interval;       // t interval, clustered by fact
  double common_median = 0;       // percent
  double common_log = 0;          // mean of ln(p / p_clean)
  std::int64_t own_start = 0;     // where the group's own curve is lowest
  double own_depth = 0;           // own_start / layers
  double own_change = 0;          // percent
};

// For every edge of the window; groups ascend (numbers by value).
std::vector<GroupEffect> group_effects(const WindowData& window, const PromptTable& prompts,
                                       Grouping grouping, double level);

}  // namespace factflow
