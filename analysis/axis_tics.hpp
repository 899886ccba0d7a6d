// Which numbers stand at an axis, and where: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace factflow {

struct Tic {
  double position = 0;  // in the units of the axis
  std::string label;
  bool operator==(const Tic&) const = default;
};

// Multiples within [low, high] of the smallest step of the form 1, 2 or 5 times a power of ten that
// gives at most `most` of them, and at least one. low <= high, most >= 1.
std::vector<double> round_numbers(double low, double high, std::size_t most);

// An axis of values: positions are the numbers themselves.
std::vector<Tic> value_tics(double low, double high, std::size_t most);
// An axis of relative depth, [0, deepest], whose labels are layers: position = layer / layers.
std::vector<Tic> layer_tics(double deepest, std::int64_t layers, std::size_t most);

// An axis of columns, the first one at 0, of which each is a window start (ascending layers). A
// relative depth (start / layers) stands where its start is, between two columns if need be; a
// layer stands at its own column.
std::vector<Tic> depth_tics_of_columns(const std::vector<std::int32_t>& starts, std::int64_t layers,
                                       std::size_t most);
std::vector<Tic> layer_tics_of_columns(const std::vector<std::int32_t>& starts, std::size_t most);

}  // namespace factflow
