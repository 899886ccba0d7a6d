// One knockout per token: a map of p - p_clean over the prompt's real tokens and the window starts.
#pragma once

#include <string>

#include "analysis/figures.hpp"
#include "results/run_results.hpp"

namespace factflow {

struct HeatmapPlot {
  std::string stem;
  const HeatmapResult* data = nullptr;
  std::int64_t layers = 1;
  double clean = 0;                        // the answer's probability in the clean run
  int subject_begin = 0, subject_end = 0;  // token range, marked beside the names
};

// 3.4 inches wide: one column of a paper; the height follows the number of tokens.
Plot render(const HeatmapPlot& figure, const FigureOptions& options);

}  // namespace factflow
