#include "analysis/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>

namespace factflow {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Of at least one value; reorders them. Selection is several times faster than sorting.
double quantile_of(std::vector<double>& values, double p) {
  const double place = p * static_cast<double>(values.size() - 1);
  const auto below = values.begin() + static_cast<std::ptrdiff_t>(place);
  std::nth_element(values.begin(), below, values.end());
  if (below + 1 == values.end()) return *below;
  const double next = *std::min_element(below + 1, values.end());
  return *below + (place - std::floor(place)) * (next - *below);
}

}  // namespace

double mean(const std::vector<double>& values) {
  if (values.empty()) return kNan;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double standard_deviation(const std::vector<double>& values) {
  if (values.size() < 2) return kNan;
  const double centre = mean(values);
  double squares = 0;
  for (const double value : values) squares += (value - centre) * (value - centre);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

double median(std::vector<double> values) {
  if (values.empty()) return kNan;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return 0.5 * (*middle + *std::max_element(values.begin(), middle));
}

double quantile(std::vector<double> values, double p) {
  if (values.empty()) return kNan;
  return quantile_of(values, p);
}

Interval t_interval(const std::vector<double>& values, double level) {
  const double centre = mean(values);
  const double deviation = standard_deviation(values);
  if (!(deviation > 0)) return {centre, centre};
  const auto n = static_cast<double>(values.size());
  const boost::math::students_t distribution(n - 1);
  const double half =
      boost::math::quantile(distribution, 0.5 + 0.5 * level) * deviation / std::sqrt(n);
  return {centre - half, centre + half};
}

Interval wilson_interval(std::size_t successes, std::size_t n, double level) {
  if (n == 0) return {kNan, kNan};
  const double z = boost::math::quantile(boost::math::normal(), 0.5 + 0.5 * level);
  const auto count = static_cast<double>(n);
  const double share = static_cast<double>(successes) / count, scale = 1 + z * z / count;
  const double centre = (share + 0.5 * z * z / count) / scale;
  const double half =
      z / scale * std::sqrt(share * (1 - share) / count + 0.25 * z * z / (count * count));
  // The exact ends are lost to rounding where no or all trials succeed.
  return {successes == 0 ? 0 : centre - half, successes == n ? 1 : centre + half};
}

double t_test(const std::vector<double>& values) {
  if (values.size() < 2) return kNan;
  const double centre = mean(values);
  const double deviation = standard_deviation(values);
  if (!(deviation > 0)) return centre == 0 ? 1 : 0;
  const auto n = static_cast<double>(values.size());
  const boost::math::students_t distribution(n - 1);
  return 2 * boost::math::cdf(boost::math::complement(distribution,
                                                      std::abs(centre) / deviation * std::sqrt(n)));
}

std::vector<double> holm(const std::vector<double>& p_values) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < p_values.size(); ++i)
    if (!std::isnan(p_values[i])) order.push_back(i);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return p_values[a] < p_values[b]; });
  std::vector<double> adjusted(p_values.size(), kNan);
  double running = 0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    running = std::max(
        running, std::min(1.0, static_cast<double>(order.size() - rank) * p_values[order[rank]]));
    adjusted[order[rank]] = running;
  }
  return adjusted;
}

double area_under(const std::vector<double>& x, const std::vector<double>& y) {
  if (x.size() < 2) return kNan;
  double area = 0;
  for (std::size_t i = 1; i < x.size(); ++i) area += 0.5 * (x[i] - x[i - 1]) * (y[i] + y[i - 1]);
  return area;
}

std::size_t index_of_minimum(const std::vector<double>& values) {
  std::size_t best = values.size();
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isnan(values[i]) && (best == values.size() || values[i] < values[best])) best = i;
  return best;
}

std::vector<std::uint16_t> bootstrap_counts(std::size_t clusters, std::size_t resamples,
                                            std::uint64_t seed) {
  std::vector<std::uint16_t> counts(resamples * clusters, 0);
  if (clusters == 0) return counts;
  std::mt19937_64 random(seed);
  for (std::size_t row = 0; row < resamples; ++row)
    for (std::size_t draw = 0; draw < clusters; ++draw) {
      // The upper 32 bits scaled: the same on every platform, and biased by less than clusters /
      // 2^32.
      const std::size_t drawn = static_cast<std::size_t>(((random() >> 32) * clusters) >> 32);
      std::uint16_t& count = counts[row * clusters + drawn];
      if (count < std::numeric_limits<std::uint16_t>::max()) ++count;
    }
  return counts;
}

Interval percentile_interval(const std::vector<double>& replicates, double level) {
  std::vector<double> finite;
  std::copy_if(replicates.begin(), replicates.end(), std::back_inserter(finite),
               [](double v) { return std::isfinite(v); });
  if (finite.size() < 2) return {kNan, kNan};
  const double low = quantile_of(finite, 0.5 - 0.5 * level);
  return {low, quantile_of(finite, 0.5 + 0.5 * level)};
}

double interpolate(const std::vector<double>& x, const double* y, double at) {
  const auto above = std::upper_bound(x.begin(), x.end(), at);
  if (above == x.begin()) return y[0];
  const auto right = static_cast<std::size_t>(above - x.begin());
  if (right == x.size()) return y[right - 1];
  const double share = (at - x[right - 1]) / (x[right] - x[right - 1]);
  // Without this, an undefined neighbour of weight 0 would make the result undefined.
  return share == 0 ? y[right - 1] : y[right - 1] + share * (y[right] - y[right - 1]);
}

}  // namespace factflow
