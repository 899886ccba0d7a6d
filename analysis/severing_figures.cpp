// Severed paths: for each model a panel for each token, a line for each severing.
#include <utility>

#include <fmt/format.h>

#include "analysis/figures.hpp"
#include "analysis/severing_report.hpp"
#include "base/text.hpp"

namespace factflow {

void add_severing_figures(const Study& study, const FigureOptions& options, Stems& stems,
                          FigureSet& set) {
  std::size_t drawn = 0;
  for (const ModelSevering& severing : study.severings) {
    if (drawn++ == options.models) break;
    LinePlot plot = severing_plot(severing);
    if (plot.panels.empty()) {
      set.omitted.push_back(
          fmt::format("{} is not drawn: {}", plot.stem, severing_caption(severing)));
      continue;
    }
    plot.header += ", " + count_of(plot.panels[0].lines);
    plot.stem = stems.unique(plot.stem);
    set.figures.push_back({severing_caption(severing), render(plot)});
  }
  if (study.severings.size() > options.models)
    set.omitted.push_back(fmt::format("Figures of severed paths are drawn for the first {} of {}.",
                                      options.models, counted(study.severings.size(), "model")));
}

}  // namespace factflow
