#include "analysis/axis_tics.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

namespace factflow {
namespace {

constexpr double kTolerance = 1e-9;  // of a step: 3 * 0.1 is to lie within [0, 0.3]

std::string label_of(double value) {
  const std::string text = fmt::format("{:g}", value + 0.0);  // no -0
  return text.starts_with('-') ? "\u2212" + text.substr(1) : text;
}

std::vector<double> multiples(double step, double low, double high) {
  std::vector<double> values;
  const double first = std::ceil(low / step - kTolerance);
  for (double i = first; i <= high / step + kTolerance; ++i)
    values.push_back(i == 0 ? 0 : i * step);  // no -0
  return values;
}

// 1, 2, 5, 10, 20 ... times `unit`, from the first that may do.
std::vector<double> round_numbers_from(double unit, double low, double high, std::size_t most) {
  std::vector<double> finer = {low};
  for (;; unit *= 10)
    for (const double factor : {1.0, 2.0, 5.0}) {
      std::vector<double> values = multiples(unit * factor, low, high);
      if (values.empty()) return {finer.front()};
      if (values.size() <= most) return values;
      finer = std::move(values);
    }
}

std::vector<double> whole_numbers(double low, double high, std::size_t most) {
  return round_numbers_from(1, low, high, most);
}

// The place of a layer among the columns, between two of them if need be.
double column_of(const std::vector<std::int32_t>& starts, double layer) {
  const auto after = std::lower_bound(starts.begin(), starts.end(), layer);
  const auto column = static_cast<double>(after - starts.begin());
  if (after == starts.begin() || after == starts.end()) return column;
  return column - (*after - layer) / static_cast<double>(*after - *(after - 1));
}

}  // namespace

std::vector<double> round_numbers(double low, double high, std::size_t most) {
  if (!(high > low)) return {low};
  const double unit =
      std::pow(10, std::floor(std::log10((high - low) / static_cast<double>(most + 1))));
  return round_numbers_from(unit, low, high, most);
}

std::vector<Tic> value_tics(double low, double high, std::size_t most) {
  std::vector<Tic> tics;
  for (const double value : round_numbers(low, high, most))
    tics.push_back({value, label_of(value)});
  return tics;
}

std::vector<Tic> layer_tics(double deepest, std::int64_t layers, std::size_t most) {
  std::vector<Tic> tics;
  const auto all = static_cast<double>(layers);
  for (const double layer : whole_numbers(0, deepest * all, most))
    tics.push_back({layer / all, label_of(layer)});
  return tics;
}

std::vector<Tic> depth_tics_of_columns(const std::vector<std::int32_t>& starts, std::int64_t layers,
                                       std::size_t most) {
  std::vector<Tic> tics;
  if (starts.empty()) return tics;
  const auto all = static_cast<double>(layers);
  for (const double depth : round_numbers(starts.front() / all, starts.back() / all, most))
    tics.push_back({column_of(starts, depth * all), label_of(depth)});
  return tics;
}

std::vector<Tic> layer_tics_of_columns(const std::vector<std::int32_t>& starts, std::size_t most) {
  std::vector<Tic> tics;
  if (starts.empty()) return tics;
  for (const double layer : whole_numbers(starts.front(), starts.back(), most))
    if (std::binary_search(starts.begin(), starts.end(), static_cast<std::int32_t>(layer)))
      tics.push_back({column_of(starts, layer), label_of(layer)});
  return tics;
}

}  // namespace factflow
