// Windows of layers, in which most kinds do something: how configurations write them, and which
// ones a model has.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fields/fields.hpp"
#include "model/knockout.hpp"

namespace factflow {

enum class Placement { kFit, kCentred };
std::string to_string(Placement placement);  // "fit", "centred"

struct WindowsConfig {
  std::vector<int> sizes;
  Placement placement = Placement::kFit;
  bool operator==(const WindowsConfig&) const = default;
};

Form<std::vector<int>> window_sizes();
Fields<WindowsConfig> windows_fields();  // sizes and placement

// All windows of one size in one model: windows[i] belongs to starts[i] on the start axis.
struct WindowSeries {
  int size = 0;
  Placement placement = Placement::kFit;
  std::vector<std::int32_t> starts;  // first layer (fit) or centre layer (centred)
  std::vector<Window> windows;
};

// fit: starts 0 .. layers - size. centred: for each layer c, layers [c - floor(size / 2), c +
// ceil(size / 2)) inside the model.
WindowSeries window_series(int size, Placement placement, int layers);

// The places in `series` of the windows of each size, ascending; new sizes are put at its end.
std::vector<std::uint32_t> add_series(std::vector<WindowSeries>& series,
                                      const std::vector<int>& sizes, Placement placement,
                                      int layers);

// The windows of the asked series, in order: what a cut of a request carries.
std::vector<Window> windows_of(const std::vector<WindowSeries>& series,
                               const std::vector<std::uint32_t>& asked);

}  // namespace factflow
