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

// Of an empty sample: NaN.
double mean(const std::vector<double>& values);
// With n - 1; NaN for fewer than two values.
double standard_deviation(const std::vector<double>& values);
double median(std::vector<double> values);
// Linear interpolation between order statistics (type 7, the default of R and numpy). `p` in [0,
// 1].
double quantile(std::vector<double> values, double p);

// mean +- t(level, n - 1) s / sqrt(n). One value or no variance: the mean twice. Empty: NaN.
Interval t_interval(const std::vector<double>& values, double level);
// Wilson's score interval of a share, within [0, 1]: `successes` of `n`. Unlike the t interval it
// has a width where all are alike. NaN for n = 0. Wilson, JASA 22 (1927).
Interval wilson_interval(std::size_t successes, std::size_t n, double level);
// Two-sided p value of the one-sample t test of "the mean is 0". NaN for fewer than two values; 1
// if all values are 0, and 0 if they are all the same other number.
double t_test(const std::vector<double>& values);
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
