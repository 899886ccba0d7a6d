// One knockout per token: maps of p - p_clean over the prompt's real tokens and the window starts,
// side by side.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "analysis/figures.hpp"
#include "results/run_results.hpp"

namespace factflow {

struct HeatmapPanel {
  std::string title;
  HeatmapResult data;
  double clean = 0;                        // the answer's probability in the clean run
  int subject_begin = 0, subject_end = 0;  // token range, marked beside the names
};

struct HeatmapPlot {
  std::string stem;
  std::size_t columns = 3;           // of panels, at full width
  std::vector<HeatmapPanel> panels;  // at least one
};

// At the two widths of a paper, as line figures are; in one column the panels stand below each
// other.
std::vector<Plot> render(const HeatmapPlot& figure, const FigureOptions& options);

}  // namespace factflow
