#include "analysis/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <gtest/gtest.h>

namespace factflow {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(Statistics, MomentsOfASmallSample) {
  EXPECT_DOUBLE_EQ(mean({1, 2, 6}), 3);
  EXPECT_DOUBLE_EQ(median({5, 1, 3}), 3);
  EXPECT_DOUBLE_EQ(median({5, 1, 3, 4}), 3.5);
  EXPECT_TRUE(std::isnan(mean({})));
  EXPECT_TRUE(std::isnan(median({})));
}

TEST(Statistics, QuantilesInterpolateBetweenOrderStatistics) {
  EXPECT_DOUBLE_EQ(quantile({4, 1, 3, 2}, 0), 1);
  EXPECT_DOUBLE_EQ(quantile({4, 1, 3, 2}, 1), 4);
  EXPECT_DOUBLE_EQ(quantile({4, 1, 3, 2}, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(quantile({4, 1, 3, 2}, 0.1), 1.3);
}

// Clusters of one value each.
std::vector<std::size_t> apart(std::size_t n) {
  std::vector<std::size_t> cluster(n);
  std::iota(cluster.begin(), cluster.end(), std::size_t{0});
  return cluster;
}

// For three values there is a closed form: F(t) = 1/2 + t / (2 sqrt(2 + t^2)), its quantile at p is
// (2 p - 1) / sqrt(2 p (1 - p)).
TEST(Statistics, TTestAndIntervalOfThreeValuesMatchTheClosedForm) {
  const double t = 2.0 / (1.0 / std::sqrt(3.0));  // mean 2, deviation 1
  EXPECT_NEAR(t_test({1, 2, 3}, apart(3)), 1 - t / std::sqrt(2 + t * t), 1e-14);
  const double reach = 0.95 / std::sqrt(2 * 0.975 * 0.025) / std::sqrt(3.0);
  EXPECT_NEAR(t_interval({1, 2, 3}, apart(3), 0.95).low, 2 - reach, 1e-10);
}

// Twelve values of three facts say no more than three values do; all of one fact say nothing.
TEST(Statistics, ValuesOfOneClusterAreNotIndependent) {
  std::vector<double> copies;
  std::vector<std::size_t> cluster;
  for (std::size_t i = 0; i < 12; ++i) {
    copies.push_back(static_cast<double>(1 + i / 4));
    cluster.push_back(i / 4);
  }
  EXPECT_NEAR(t_test(copies, cluster), t_test({1, 2, 3}, apart(3)), 1e-14);
  EXPECT_NEAR(t_interval(copies, cluster, 0.95).high, t_interval({1, 2, 3}, apart(3), 0.95).high,
              1e-12);
  EXPECT_LT(t_test(copies, apart(12)), 0.1 * t_test(copies, cluster));
  EXPECT_TRUE(std::isnan(t_test(copies, std::vector<std::size_t>(12, 0))));
  EXPECT_EQ(count_clusters(cluster), 3U);
}

TEST(Statistics, DegenerateSamplesHaveNoIntervalOrOneWithoutWidth) {
  EXPECT_TRUE(std::isnan(t_interval({7}, apart(1), 0.95).low));
  EXPECT_TRUE(std::isnan(t_interval({7, 8}, apart(2), 0.95).low));
  EXPECT_EQ(t_interval({7, 7, 7}, apart(3), 0.95).high, 7);
  EXPECT_TRUE(std::isnan(t_interval({}, {}, 0.95).low));
  EXPECT_TRUE(std::isnan(t_test({7, 8}, apart(2))));
  EXPECT_EQ(t_test({0, 0, 0}, apart(3)), 1);
  EXPECT_EQ(t_test({7, 7, 7}, apart(3)), 0);
}

// The ends solve (share - q)^2 = z^2 q (1 - q) / n; where all trials are alike there are closed
// forms.
TEST(Statistics, WilsonIntervalsStayBetweenNoneAndAll) {
  const double z2 = 1.959963984540054 * 1.959963984540054;
  const Interval all = wilson_interval(1, 10, 0.95), none = wilson_interval(0, 10, 0.95);
  EXPECT_NEAR(all.low, 10 / (10 + z2), 1e-14);
  EXPECT_EQ(all.high, 1);
  EXPECT_EQ(none.low, 0);
  EXPECT_NEAR(none.high, z2 / (10 + z2), 1e-14);
  const Interval most = wilson_interval(39.0 / 40, 40, 0.95);
  for (const double end : {most.low, most.high})
    EXPECT_NEAR(std::pow(39.0 / 40 - end, 2), z2 * end * (1 - end) / 40, 1e-14);
  EXPECT_LT(most.high, 1);
  EXPECT_TRUE(std::isnan(wilson_interval(0, 0, 0.95).low));
}

TEST(Statistics, HalfOfASumMayBeOneValue) {
  EXPECT_EQ(half_carried_by({1, -1, 1, 1}), 2U);
  EXPECT_EQ(half_carried_by({1, 1, 1, -50, 1}), 1U);
  EXPECT_EQ(half_carried_by({0, 0}), 0U);
  EXPECT_EQ(half_carried_by({}), 0U);
}

TEST(Statistics, HolmStepsDownAndStaysMonotone) {
  const std::vector<double> adjusted = holm({0.01, 0.04, kNan, 0.03, 0.005});
  EXPECT_DOUBLE_EQ(adjusted[4], 0.02);
  EXPECT_DOUBLE_EQ(adjusted[0], 0.03);
  EXPECT_DOUBLE_EQ(adjusted[3], 0.06);
  EXPECT_DOUBLE_EQ(adjusted[1], 0.06);  // 0.04 would be less than the one before it
  EXPECT_TRUE(std::isnan(adjusted[2]));
  EXPECT_DOUBLE_EQ(holm({0.9, 0.8})[0], 1);
}

TEST(Statistics, AreaAndInterpolationAreExactOnLines) {
  EXPECT_DOUBLE_EQ(area_under({0, 0.25, 1}, {2, 1.75, 1}), 1.5);
  EXPECT_TRUE(std::isnan(area_under({0.5}, {2})));
  const double y[] = {0, 10, 40};
  EXPECT_DOUBLE_EQ(interpolate({0, 1, 2}, y, 1.5), 25);
  EXPECT_DOUBLE_EQ(interpolate({0, 1, 2}, y, 1), 10);
  EXPECT_DOUBLE_EQ(interpolate({0, 1, 2}, y, 2), 40);
  EXPECT_DOUBLE_EQ(interpolate({0, 1, 2}, y, -3), 0);
}

TEST(Statistics, TheMinimumIsTheFirstOfEqualsAndSkipsNan) {
  EXPECT_EQ(index_of_minimum({kNan, 3, 1, 1}), 2U);
  EXPECT_EQ(index_of_minimum({kNan, kNan}), 2U);
  EXPECT_EQ(index_of_minimum({}), 0U);
}

TEST(Bootstrap, EachResampleDrawsAsManyAsThereAre) {
  const std::size_t clusters = 37, resamples = 50;
  const std::vector<std::uint16_t> counts = bootstrap_counts(clusters, resamples, 3);
  ASSERT_EQ(counts.size(), clusters * resamples);
  for (std::size_t r = 0; r < resamples; ++r)
    EXPECT_EQ(std::accumulate(counts.begin() + static_cast<std::ptrdiff_t>(r * clusters),
                              counts.begin() + static_cast<std::ptrdiff_t>((r + 1) * clusters), 0U),
              clusters);
  EXPECT_EQ(counts, bootstrap_counts(clusters, resamples, 3));
  EXPECT_NE(counts, bootstrap_counts(clusters, resamples, 4));
  EXPECT_TRUE(bootstrap_counts(0, 5, 1).empty());
}

// The bootstrap interval of a mean must come near the t interval of a large, well-behaved sample.
TEST(Bootstrap, IntervalOfAMeanIsNearTheTInterval) {
  std::vector<double> values;
  for (int i = 0; i < 400; ++i) values.push_back(std::sin(1.7 * i) + 0.01 * i);
  const std::size_t resamples = 4000;
  const std::vector<std::uint16_t> counts = bootstrap_counts(values.size(), resamples, 9);
  std::vector<double> means(resamples, 0);
  for (std::size_t r = 0; r < resamples; ++r)
    for (std::size_t i = 0; i < values.size(); ++i)
      means[r] += counts[r * values.size() + i] * values[i] / static_cast<double>(values.size());
  const Interval boot = percentile_interval(means, 0.95),
                 t = t_interval(values, apart(values.size()), 0.95);
  EXPECT_NEAR(boot.low, t.low, 0.06 * (t.high - t.low));
  EXPECT_NEAR(boot.high, t.high, 0.06 * (t.high - t.low));
}

TEST(Bootstrap, PercentilesPassOverUndefinedReplicates) {
  const Interval interval = percentile_interval({kNan, 1, 2, 3, 4, 5}, 0.5);
  EXPECT_DOUBLE_EQ(interval.low, 2);
  EXPECT_DOUBLE_EQ(interval.high, 4);
  EXPECT_TRUE(std::isnan(percentile_interval({kNan, 1}, 0.95).low));
}

}  // namespace
}  // namespace factflow
