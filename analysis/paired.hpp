// Do two models differ on the same prompts? Paired differences of the relative change, start by
// start.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "analysis/run_data.hpp"
#include "analysis/statistics.hpp"

namespace factflow {

// At one relative depth: the starts of the model with fewer of them (the first, if equal) that lie
// within the other's range. The other model's change is interpolated linearly between its starts,
// prompt by prompt.
struct PairedDifference {
  std::string first, second;  // models
  std::string edge;           // label
  std::int64_t window = 0;
  double depth = 0;
  // Prompts that are valid at every start in both models.
  std::size_t n = 0, facts = 0;
  double first_change = 0, second_change = 0;  // means, percent
  double difference = 0;                       // first - second, percentage points
  Interval interval;                           // t interval of the differences, clustered by fact
  double median = 0;                           // of the differences, percentage points
  double log = 0;                              // mean of the differences of ln(p / p_clean)
  double p_value = 0;                          // paired t test, clustered by fact
  // Holm-corrected over all pairs, edges and depths (correct_together).
  double p_holm = 0;
};

// All edges that both models have. Empty if they share no prompt.
std::vector<PairedDifference> paired_differences(const WindowData& first, const WindowData& second,
                                                 double level);

// Holm's correction over all of them: they are one table.
void correct_together(std::vector<PairedDifference>& differences);

}  // namespace factflow
