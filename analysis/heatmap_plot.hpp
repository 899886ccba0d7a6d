// One knockout per token: maps of p - p_clean over the prompt's real tokens and the window starts,
// side by side.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "analysis/figures.hpp"
#include "experiments/heatmap/heatmap_arrays.hpp"
#include "results/results_file.hpp"

namespace factflow {

// Without tokens it is a gap, which keeps the columns of a grid.
struct HeatmapPanel {
  std::vector<std::string> title = {};  // lines
  HeatmapResult data = {};
  std::int64_t layers = 0;                 // of the model
  double clean = 0;                        // the answer's probability in the clean run
  int subject_begin = 0, subject_end = 0;  // token range, marked beside the names
};

bool is_gap(const HeatmapPanel& panel);

struct HeatmapPlot {
  std::string stem;
  std::string header;                // what all panels have in common, above them
  std::size_t columns = 3;           // of panels, at full width; fewer where names are long
  bool grid = false;                 // each `columns` panels are a row, which begins on a new line
  std::vector<HeatmapPanel> panels;  // at least one that is no gap
};

// What stands at the two ends of the colour bar: with signs of "or beyond" where some value is.
struct ColorEnds {
  std::string low, high;
};
ColorEnds color_ends(const HeatmapPlot& figure, double limit);

// At the two widths of a paper, as line figures are; in one column the panels stand below each
// other. Below each panel stands the relative depth (start / layers), above it the window's start.
std::vector<Plot> render(const HeatmapPlot& figure, const FigureOptions& options);

}  // namespace factflow
