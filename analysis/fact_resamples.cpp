#include "analysis/fact_resamples.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

namespace factflow {
namespace {

// From 1; equal values share the mean of their ranks.
std::vector<double> ranks_of(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (std::size_t first = 0; first < order.size();) {
    std::size_t end = first + 1;
    while (end < order.size() && values[order[end]] == values[order[first]]) ++end;
    for (std::size_t i = first; i < end; ++i)
      ranks[order[i]] = 0.5 * static_cast<double>(first + 1 + end);
    first = end;
  }
  return ranks;
}

}  // namespace

FactResamples::FactResamples(const std::vector<std::size_t>& fact, const BootstrapOptions& options)
    : level_(options.level) {
  std::map<std::size_t, std::size_t> numbers;
  for (const std::size_t one : fact)
    cluster_.push_back(numbers.emplace(one, numbers.size()).first->second);
  facts_ = numbers.size();
  resamples_ = facts_ < kFewestClusters ? 0 : options.resamples;
  counts_ = bootstrap_counts(facts_, resamples_, options.seed);
}

std::vector<double> FactResamples::means(const std::vector<double>& values) const {
  std::vector<double> sums(facts_, 0), members(facts_, 0);
  for (std::size_t i = 0; i < values.size(); ++i) {
    sums[cluster_[i]] += values[i];
    members[cluster_[i]] += 1;
  }
  std::vector<double> means = {mean(values)};
  for (std::size_t r = 0; r < resamples_; ++r) {
    double sum = 0, count = 0;
    for (std::size_t f = 0; f < facts_; ++f) {
      const double times = counts_[r * facts_ + f];
      sum += times * sums[f];
      count += times * members[f];
    }
    means.push_back(sum / count);
  }
  return means;
}

Resampled FactResamples::measured(const std::vector<double>& of_samples) const {
  Resampled result;
  result.value = of_samples.front();
  result.interval = percentile_interval({of_samples.begin() + 1, of_samples.end()}, level_);
  return result;
}

double spearman(const std::vector<double>& x, const std::vector<double>& y) {
  const std::vector<double> a = ranks_of(x), b = ranks_of(y);
  const double middle = 0.5 * static_cast<double>(x.size() + 1);
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - middle) * (b[i] - middle);
    aa += (a[i] - middle) * (a[i] - middle);
    bb += (b[i] - middle) * (b[i] - middle);
  }
  return ab / std::sqrt(aa * bb);  // 0 / 0 is NaN
}

}  // namespace factflow
