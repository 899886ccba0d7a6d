#include "analysis/rank_correlation.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

namespace factflow {
namespace {

std::vector<std::size_t> ascending(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  return order;
}

// Of values in `order`, each there weight(i) times: equal ones share the mean of their ranks.
template <class Weight>
std::vector<double> mean_ranks(const std::vector<double>& values,
                               const std::vector<std::size_t>& order, const Weight& weight) {
  std::vector<double> ranks(values.size());
  double before = 0;
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin;
    double here = 0;
    while (end < order.size() && values[order[end]] == values[order[begin]])
      here += weight(order[end++]);
    for (std::size_t i = begin; i < end; ++i) ranks[order[i]] = before + (here + 1) / 2;
    before += here;
    begin = end;
  }
  return ranks;
}

}  // namespace

RankCorrelation::RankCorrelation(std::vector<double> x, std::vector<double> y,
                                 std::vector<std::size_t> cluster)
    : x_(std::move(x)),
      y_(std::move(y)),
      cluster_(std::move(cluster)),
      by_x_(ascending(x_)),
      by_y_(ascending(y_)) {}

double RankCorrelation::value() const {
  return weighted([](std::size_t) { return 1.0; });
}

double RankCorrelation::resampled(const std::uint16_t* counts) const {
  return weighted([&](std::size_t i) { return static_cast<double>(counts[cluster_[i]]); });
}

template <class Weight>
double RankCorrelation::weighted(const Weight& weight) const {
  const std::vector<double> of_x = mean_ranks(x_, by_x_, weight),
                            of_y = mean_ranks(y_, by_y_, weight);
  double n = 0;
  for (std::size_t i = 0; i < x_.size(); ++i) n += weight(i);
  const double mean = (n + 1) / 2;  // of ranks, shared or not
  double xx = 0, yy = 0, xy = 0;
  for (std::size_t i = 0; i < x_.size(); ++i) {
    const double w = weight(i), x = of_x[i] - mean, y = of_y[i] - mean;
    xx += w * x * x;
    yy += w * y * y;
    xy += w * x * y;
  }
  if (n < 2 || xx == 0 || yy == 0) return std::numeric_limits<double>::quiet_NaN();
  return std::clamp(xy / std::sqrt(xx * yy), -1.0, 1.0);
}

}  // namespace factflow
