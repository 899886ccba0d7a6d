// Paths: for each model and window size groups of bars.
#include <set>
#include <utility>

#include <fmt/format.h>

#include "analysis/figures.hpp"
#include "analysis/path_report.hpp"
#include "base/text.hpp"

namespace factflow {

void add_path_figures(const Study& study, const FigureOptions& options, Stems& stems,
                      FigureSet& set) {
  std::set<std::string> models, left_out;
  for (const ModelPaths& paths : study.paths) {
    if (!models.contains(paths.model) && models.size() == options.models) {
      left_out.insert(paths.model);
      continue;
    }
    models.insert(paths.model);
    BarPlot plot = paths_plot(paths);
    plot.stem = stems.unique(plot.stem);
    set.figures.push_back({paths_caption(paths), render(plot)});
  }
  if (!left_out.empty())
    set.omitted.push_back(fmt::format("Figures of paths are drawn for the first {} of {}.",
                                      models.size(),
                                      counted(models.size() + left_out.size(), "model")));
}

}  // namespace factflow
