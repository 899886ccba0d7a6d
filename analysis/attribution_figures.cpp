// Gradient estimates against exact effects: for each model rows of panels, a line for each site.
#include <utility>

#include <fmt/format.h>

#include "analysis/attribution_report.hpp"
#include "analysis/figures.hpp"
#include "base/text.hpp"

namespace factflow {

void add_attribution_figures(const Study& study, const FigureOptions& options, Stems& stems,
                             FigureSet& set) {
  std::size_t drawn = 0;
  for (const ModelAttributions& attributions : study.attributions) {
    if (drawn++ == options.models) break;
    LinePlot plot = attribution_plot(attributions);
    if (plot.panels.empty()) {
      set.omitted.push_back(
          fmt::format("{} is not drawn: {}", plot.stem, attribution_caption(attributions)));
      continue;
    }
    plot.header += ", " + count_of(plot.panels[0].lines);
    plot.stem = stems.unique(plot.stem);
    set.figures.push_back({attribution_caption(attributions), render(plot)});
  }
  if (study.attributions.size() > options.models)
    set.omitted.push_back(
        fmt::format("Figures of gradient estimates are drawn for the first {} of {}.",
                    options.models, counted(study.attributions.size(), "model")));
}

}  // namespace factflow
