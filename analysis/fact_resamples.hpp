// Bootstrap over facts of numbers that are made of several means over the same prompts: every mean
// is of the same draw, so differences, ratios and ranks of them have paired intervals.
#pragma once

#include <cstddef>
#include <limits>
#include <vector>

#include "analysis/effects.hpp"
#include "analysis/statistics.hpp"

namespace factflow {

// A number with its percentile interval; NaN where there is none.
struct Resampled {
  double value = std::numeric_limits<double>::quiet_NaN();
  Interval interval{std::numeric_limits<double>::quiet_NaN(),
                    std::numeric_limits<double>::quiet_NaN()};
};

class FactResamples {
 public:
  // `fact`: of each prompt, any numbers. Without kFewestClusters facts there are no resamples.
  FactResamples(const std::vector<std::size_t>& fact, const BootstrapOptions& options);

  std::size_t facts() const { return facts_; }
  // The mean of the values, one of each prompt: of the data, then of each resample.
  std::vector<double> means(const std::vector<double>& values) const;

  // Of such means, or of what is made of them in the same order.
  Resampled measured(const std::vector<double>& of_samples) const;
  // `statistic` of several means: means[item][sample].
  template <typename Statistic>
  Resampled measured(const std::vector<std::vector<double>>& means,
                     const Statistic& statistic) const {
    std::vector<double> of_samples, one(means.size());
    for (std::size_t sample = 0; sample <= resamples_; ++sample) {
      for (std::size_t item = 0; item < means.size(); ++item) one[item] = means[item][sample];
      of_samples.push_back(statistic(one));
    }
    return measured(of_samples);
  }

 private:
  std::vector<std::size_t> cluster_;  // of each prompt: 0, 1, ...
  std::size_t facts_ = 0, resamples_ = 0;
  std::vector<std::uint16_t> counts_;  // [resample, fact]
  double level_ = 0;
};

// Spearman's rank correlation, ties with their mean rank; NaN where one of both is constant.
double spearman(const std::vector<double>& x, const std::vector<double>& y);

}  // namespace factflow
