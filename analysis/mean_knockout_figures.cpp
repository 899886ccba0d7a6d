// Knockouts by means: for each model and window size a panel for each mode, a line for each set.
#include <utility>

#include <fmt/format.h>

#include "analysis/figures.hpp"
#include "analysis/mean_knockout_report.hpp"
#include "base/text.hpp"

namespace factflow {

void add_mean_knockout_figures(const Study& study, const FigureOptions& options, Stems& stems,
                               FigureSet& set) {
  std::size_t drawn = 0;
  for (const ModelMeanKnockouts& knockouts : study.mean_knockouts) {
    if (drawn++ == options.models) break;
    if (knockouts.curves.empty())
      set.omitted.push_back(
          fmt::format("mean_knockout_{} is not drawn: no prompt has a value.", knockouts.model));
    for (const std::int64_t window : windows_of(knockouts)) {
      LinePlot plot = mean_knockout_plot(knockouts, window);
      plot.header += ", " + count_of(plot.panels[0].lines);
      plot.stem = stems.unique(plot.stem);
      set.figures.push_back({mean_knockout_caption(knockouts, window), render(plot)});
    }
  }
  if (study.mean_knockouts.size() > options.models)
    set.omitted.push_back(
        fmt::format("Figures of knockouts by means are drawn for the first {} of "
                    "{}.",
                    options.models, counted(study.mean_knockouts.size(), "model")));
}

}  // namespace factflow
