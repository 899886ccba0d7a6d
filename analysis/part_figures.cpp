// Parts of edges: for each model lines of slices, of slices by depth and of parts together, and
// bars of single parts.
#include <utility>

#include <fmt/format.h>

#include "analysis/figures.hpp"
#include "analysis/parts_report.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

void add_lines(LinePlot plot, const std::string& caption, Stems& stems, FigureSet& set) {
  if (plot.panels.empty()) return;
  plot.header += ", " + count_of(plot.panels[0].lines);
  plot.stem = stems.unique(plot.stem);
  set.figures.push_back({caption, render(plot)});
}

// Their x axis counts parts, not layers.
LinePlot without_layers(LinePlot plot) {
  for (Panel& panel : plot.panels)
    for (Line& line : panel.lines) line.layers = 0;
  return plot;
}

}  // namespace

void add_part_figures(const Study& study, const FigureOptions& options, Stems& stems,
                      FigureSet& set) {
  std::size_t drawn = 0;
  for (const ModelParts& parts : study.parts) {
    if (drawn++ == options.models) break;
    add_lines(without_layers(part_slices_plot(parts)), part_slices_caption(parts), stems, set);
    add_lines(part_depth_plot(parts), part_depth_caption(parts), stems, set);
    add_lines(without_layers(part_cumulated_plot(parts)), part_cumulated_caption(parts), stems,
              set);
    for (const DividedEdge& edge : parts.edges) {
      BarPlot plot = part_bars_plot(parts, edge);
      plot.stem = stems.unique(plot.stem);
      set.figures.push_back({part_bars_caption(parts, edge), render(plot)});
    }
  }
  if (study.parts.size() > options.models)
    set.omitted.push_back(fmt::format("Figures of parts of edges are drawn for the first {} of {}.",
                                      options.models, counted(study.parts.size(), "model")));
}

}  // namespace factflow
