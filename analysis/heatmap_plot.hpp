// Maps over the rows of a prompt (its tokens, or groups of tokens) and windows, side by side:
// p - p_clean with one knockout per token, or the effects of causal traces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
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
  // What is drawn is (p - clean) / unit.
  double unit = 1;
  bool token_rows = true;  // false: data.tokens are names of their own, drawn as they are
  int layer_shift = 0;     // a window's layer is called so much more than its start
};

// Colours and their meaning.
struct ColorScale {
  double low = 0, high = 1;
  std::string low_text, high_text;  // at the ends of the colour bar
  std::string label;                // beside it
  std::string palette;              // as in diverging_palette()
  bool low_is_dark = false;         // the colour of the low end
};

bool is_gap(const HeatmapPanel& panel);

struct HeatmapPlot {
  std::string stem;
  std::string header;                // what all panels have in common, above them
  std::size_t columns = 3;           // of panels, at full width; fewer where names are long
  bool grid = false;                 // each `columns` panels are a row, which begins on a new line
  std::vector<HeatmapPanel> panels;  // at least one that is no gap
  std::optional<ColorScale> scale;   // none: p - p_clean, as the options say
  // Rows of all panels have the same names, which stand beside the first column only.
  bool shared_rows = false;
  // Below the panels, where layers stand in place of relative depths; "" = depths, and the layers
  // above the panels.
  std::string layer_label;
  bool page =
      false;  // of a figure that goes on over several pages: it has the columns of the others
};

// What stands at the two ends of the colour bar: with signs of "or beyond" where some value is.
struct ColorEnds {
  std::string low, high;
};
ColorEnds color_ends(const HeatmapPlot& figure, double limit);

// At the two widths of a paper, as line figures are; in one column the panels stand below each
// other. Below each panel stands the relative depth (start / layers), above it the window's start,
// unless the figure has a layer_label. Without a scale of its own the figure is drawn once more, as
// STEM_for_all_eyes, in colours that grow lighter all the way. Dots mark cells beyond the scale.
// What is taller than a page goes on in STEM_page2; rows of very long prompts are flatter.
std::vector<Plot> render(const HeatmapPlot& figure, const FigureOptions& options);

}  // namespace factflow
