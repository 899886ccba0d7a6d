// Which figures a study gets: all of them as plots for draw(), with captions.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "analysis/gnuplot.hpp"
#include "analysis/study.hpp"

namespace factflow {

struct FigureOptions {
  std::size_t models = 24;         // figures of single models are drawn for the first so many
  std::size_t heatmaps = 24;       // at most, over all models and prompts
  double heatmap_limit = 0.3;      // colour range of p - p_clean; values beyond it take the end colours
  std::string palette = "RdYlGn";  // or "RdBu"
};

struct Figure {
  enum class Kind { kModels, kEdges, kWindows, kChannels, kHeatmap };
  Kind kind = Kind::kModels;
  std::string model;    // "" for kModels
  std::string prompt;   // kHeatmap: the prompt and its answer; "" otherwise
  std::string caption;  // plain text
  Plot plot;
};

struct FigureSet {
  std::vector<Figure> figures;
  std::vector<std::string> omitted;  // what the limits left out, in sentences
};

FigureSet make_figures(const Study& study, const FigureOptions& options);

}  // namespace factflow
