// Does a small model react more to knockouts than a large one of its family, on the same prompts?
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "analysis/run_data.hpp"
#include "analysis/statistics.hpp"

namespace factflow {

// A prompt's sensitivity = mean of |relative change| over all starts of all edges into the last
// token (all channels) that both models have; changes beyond 100 % count as 100 %, so that no rare
// prompt decides.
struct SensitivityPair {
  std::string family;
  std::string smaller, larger;  // models of the fewest and the most parameters
  double size_ratio = 1;        // parameters of the larger / of the smaller
  std::int64_t window = 0;
  std::size_t edges = 0;
  // Prompts that are valid at every start of these edges in both.
  std::size_t n = 0, facts = 0;
  double smaller_value = 0, larger_value = 0;  // mean sensitivity, percent
  double difference = 0;                       // smaller - larger
  Interval interval;                           // t interval of the paired differences, by fact
  double median = 0;                           // of the paired differences
  double log = 0;      // mean difference of the prompts' mean |ln(p / p_clean)|
  double p_value = 0;  // paired t test, clustered by fact
  double p_holm = 0;   // Holm-corrected over the families
};

// A larger model has at least so many times the parameters; below it, "small" and "large" mean
// nothing.
inline constexpr double kRealSizeRatio = 2;

// One pair for each family that has models of two sizes and shared edges and prompts. `windows` are
// of one size.
std::vector<SensitivityPair> compare_sizes(const std::vector<WindowData>& windows, double level);

}  // namespace factflow
