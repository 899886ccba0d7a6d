#include "analysis/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <unordered_set>

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

struct ClusteredMean {
  double mean, error;  // standard error
  std::size_t clusters;
};

ClusteredMean clustered_mean(const std::vector<double>& values,
                             const std::vector<std::size_t>& cluster) {
  const double centre = mean(values);
  std::vector<double> sums;  // of the deviations in each cluster
  std::vector<bool> there;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (cluster[i] >= sums.size()) {
      sums.resize(cluster[i] + 1, 0);
      there.resize(cluster[i] + 1, false);
    }
    sums[cluster[i]] += values[i] - centre;
    there[cluster[i]] = true;
  }
  double squares = 0;
  for (const double sum : sums) squares += sum * sum;
  const auto clusters = static_cast<std::size_t>(std::count(there.begin(), there.end(), true));
  const auto groups = static_cast<double>(clusters), n = static_cast<double>(values.size());
  return {centre, std::sqrt(squares * groups / (groups - 1)) / n, clusters};
}

}  // namespace

double mean(const std::vector<double>& values) {
  if (values.empty()) return kNan;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
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

double standard_error(const std::vector<double>& values, const std::vector<std::size_t>& cluster) {
  const ClusteredMean m = clustered_mean(values, cluster);
  return m.clusters < 2 ? kNan : m.error;
}

Interval t_interval(const std::vector<double>& values, const std::vector<std::size_t>& cluster,
                    double level) {
  const ClusteredMean m = clustered_mean(values, cluster);
  if (m.clusters < kFewestForT) return {kNan, kNan};
  if (!(m.error > 0)) return {m.mean, m.mean};
  const boost::math::students_t distribution(static_cast<double>(m.clusters - 1));
  const double half = boost::math::quantile(distribution, 0.5 + 0.5 * level) * m.error;
  return {m.mean - half, m.mean + half};
}

Interval wilson_interval(double share, double n, double level) {
  if (!(n > 0)) return {kNan, kNan};
  const double z = boost::math::quantile(boost::math::normal(), 0.5 + 0.5 * level);
  const double scale = 1 + z * z / n, centre = (share + 0.5 * z * z / n) / scale;
  const double half = z / scale * std::sqrt(share * (1 - share) / n + 0.25 * z * z / (n * n));
  // The exact ends are lost to rounding where no or all trials succeed.
  return {share == 0 ? 0 : centre - half, share == 1 ? 1 : centre + half};
}

double t_test(const std::vector<double>& values, const std::vector<std::size_t>& cluster) {
  const ClusteredMean m = clustered_mean(values, cluster);
  if (m.clusters < kFewestForT) return kNan;
  if (!(m.error > 0)) return m.mean == 0 ? 1 : 0;
  const boost::math::students_t distribution(static_cast<double>(m.clusters - 1));
  return 2 * boost::math::cdf(boost::math::complement(distribution, std::abs(m.mean) / m.error));
}

std::size_t count_clusters(const std::vector<std::size_t>& cluster) {
  return std::unordered_set<std::size_t>(cluster.begin(), cluster.end()).size();
}

std::size_t half_carried_by(std::vector<double> values) {
  for (double& value : values) value = std::abs(value);
  std::sort(values.begin(), values.end(), std::greater<>());
  const double half = 0.5 * std::accumulate(values.begin(), values.end(), 0.0);
  std::size_t count = 0;
  for (double sum = 0; count < values.size() && sum < half; ++count) sum += values[count];
  return count;
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
