// Statistics as pure functions on plain vectors, all in double precision. Nothing here knows of
// files or models.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace factflow {

struct Interval {
  double low = 0;
  double high = 0;
};

// Fewer independent clusters than this have too few distinct resamples for a bootstrap interval,
// and decide no claim.
inline constexpr std::size_t kFewestClusters = 10;
// Fewer than this give no t interval and no t test: with one degree of freedom it says nothing.
inline constexpr std::size_t kFewestForT = 3;

// Of an empty sample: NaN.
double mean(const std::vector<double>& values);
double median(std::vector<double> values);
// Linear interpolation between order statistics (type 7, the default of R and numpy). `p` in [0,
// 1].
double quantile(std::vector<double> values, double p);

// Of values in clusters, those of one cluster not being independent; `cluster` has small
// numbers, one for each value. The variance is the cluster-robust one (Liang and Zeger, Biometrika
// 73, 1986) with G / (G - 1), G = clusters; with one value a cluster it is s^2 / n.
//
// The square root of that variance; NaN for fewer than two clusters.
double standard_error(const std::vector<double>& values, const std::vector<std::size_t>& cluster);
// mean +- t(level, G - 1) standard error. No variance: the mean twice. NaN for fewer than
// kFewestForT clusters.
Interval t_interval(const std::vector<double>& values, const std::vector<std::size_t>& cluster,
                    double level);
// Wilson's score interval of a share of `n` independent trials (JASA 22, 1927), within [0, 1].
// Unlike the t interval it has a width where all are alike. NaN for n = 0.
Interval wilson_interval(double share, double n, double level);
// Two-sided p value of the t test of "the mean is 0". NaN for fewer than kFewestForT clusters; 1 if
// all values are 0, and 0 if they are all the same other number.
double t_test(const std::vector<double>& values, const std::vector<std::size_t>& cluster);
std::size_t count_clusters(const std::vector<std::size_t>& cluster);

// How few of the values hold at least half of the sum of all sizes |value|. 0 if the sum is 0.
std::size_t half_carried_by(std::vector<double> values);
// Holm's step-down correction: adjusted p values in the given order. NaNs stay NaN and do not count
// as tests.
std::vector<double> holm(const std::vector<double>& p_values);

// Trapezoid rule over ascending x. NaN for fewer than two points.
double area_under(const std::vector<double>& x, const std::vector<double>& y);
// Index of the smallest value, the first of equals; NaNs are passed over. size() if there is none.
std::size_t index_of_minimum(const std::vector<double>& values);

// How often each of `units` values is drawn in each bootstrap resample. Resampling is by cluster:
// clusters are drawn with replacement and bring all their members. One cluster for each unit is the
// plain bootstrap. Returns `resamples` rows of `clusters` counts, row-major: [resample, cluster].
std::vector<std::uint16_t> bootstrap_counts(std::size_t clusters, std::size_t resamples,
                                            std::uint64_t seed);

// The central interval of the finite ones of bootstrap replicates (percentile method); NaN if fewer
// than two are finite.
Interval percentile_interval(const std::vector<double>& replicates, double level);

// Pieces of the line y(x) at `at`; `x` ascending with at least one element, `at` within its range
// (clamped outside).
double interpolate(const std::vector<double>& x, const double* y, double at);

}  // namespace factflow
