// A mean, or a ratio of two, with its bootstrap interval over facts: what the questions beyond the
// paper are answered with.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "analysis/effects.hpp"
#include "analysis/statistics.hpp"

namespace factflow {

struct Measured {
  double value = 0;   // NaN for n = 0
  Interval interval;  // percentile bootstrap; NaN for fewer than kFewestClusters facts
  std::size_t n = 0, facts = 0;
};

// `fact` has a number for each value; the facts are drawn, with all their values.
Measured measured_mean(const std::vector<double>& values, const std::vector<std::size_t>& fact,
                       const BootstrapOptions& options);
// mean(numerators) / mean(denominators), of the same prompts, in each resample.
Measured measured_ratio(const std::vector<double>& numerators,
                        const std::vector<double>& denominators,
                        const std::vector<std::size_t>& fact, const BootstrapOptions& options);

// "-0.31 [-0.42, -0.20]"; without an interval the number alone.
std::string measured_text(const Measured& measured, int digits = 2);

}  // namespace factflow
