#include "analysis/measured.hpp"

#include <cmath>
#include <functional>
#include <limits>
#include <map>

#include "analysis/number_text.hpp"

namespace factflow {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// The sums of several columns of numbers over the prompts of each fact.
struct FactSums {
  std::vector<std::vector<double>> sums;  // [column][fact]
  std::vector<double> prompts;            // [fact]
};

FactSums sums_of(const std::vector<const std::vector<double>*>& columns,
                 const std::vector<std::size_t>& fact) {
  std::map<std::size_t, std::size_t> places;
  for (const std::size_t one : fact) places.emplace(one, places.size());
  FactSums all{std::vector<std::vector<double>>(columns.size(), std::vector<double>(places.size())),
               std::vector<double>(places.size())};
  for (std::size_t i = 0; i < fact.size(); ++i) {
    const std::size_t place = places.at(fact[i]);
    ++all.prompts[place];
    for (std::size_t c = 0; c < columns.size(); ++c) all.sums[c][place] += columns[c]->at(i);
  }
  return all;
}

double weighted(const std::vector<double>& values, const std::uint16_t* counts) {
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i) sum += counts[i] * values[i];
  return sum;
}

// `of`: the number out of the drawn sums of a resample.
Interval bootstrap(const FactSums& all, const BootstrapOptions& options,
                   const std::function<double(const std::uint16_t* counts)>& of) {
  const std::size_t facts = all.prompts.size();
  if (facts < kFewestClusters) return {kNone, kNone};
  const std::vector<std::uint16_t> counts =
      bootstrap_counts(facts, options.resamples, options.seed);
  std::vector<double> replicates;
  for (std::size_t i = 0; i < options.resamples; ++i)
    replicates.push_back(of(counts.data() + i * facts));
  return percentile_interval(replicates, options.level);
}

}  // namespace

Measured measured_mean(const std::vector<double>& values, const std::vector<std::size_t>& fact,
                       const BootstrapOptions& options) {
  const FactSums all = sums_of({&values}, fact);
  return {mean(values),
          bootstrap(all, options,
                    [&](const std::uint16_t* counts) {
                      return weighted(all.sums[0], counts) / weighted(all.prompts, counts);
                    }),
          values.size(), all.prompts.size()};
}

Measured measured_ratio(const std::vector<double>& numerators,
                        const std::vector<double>& denominators,
                        const std::vector<std::size_t>& fact, const BootstrapOptions& options) {
  const FactSums all = sums_of({&numerators, &denominators}, fact);
  return {mean(numerators) / mean(denominators),
          bootstrap(all, options,
                    [&](const std::uint16_t* counts) {
                      return weighted(all.sums[0], counts) / weighted(all.sums[1], counts);
                    }),
          numerators.size(), all.prompts.size()};
}

std::string measured_text(const Measured& measured, int digits) {
  const std::string number = signed_number(measured.value, digits);
  if (std::isnan(measured.interval.low)) return number;
  return number + " " + interval_text(measured.interval, "", digits);
}

}  // namespace factflow
