// Paths of hybrids: one figure of all verdicts, and of each model what every layer carries and the
// profile over depth at each window size.
#include <utility>

#include <fmt/format.h>

#include "analysis/carrier_report.hpp"
#include "analysis/curve_figures.hpp"
#include "analysis/figures.hpp"
#include "base/text.hpp"

namespace factflow {

void add_carrier_figures(const Study& study, const FigureOptions& options, Stems& stems,
                         FigureSet& set) {
  if (SharePlot shares = carrier_shares_plot(study); !shares.panels.empty()) {
    shares.stem = stems.unique(shares.stem);
    set.figures.push_back({carrier_shares_caption(), render(shares)});
  }
  const std::vector<std::string> models = models_with_carriers(study);
  for (std::size_t i = 0; i < models.size(); ++i) {
    if (i == options.models) {
      set.omitted.push_back(
          fmt::format("Figures of paths of hybrids are drawn for the first {} of {}.", i,
                      counted(models.size(), "model")));
      return;
    }
    const std::string placement = study.curves.empty() ? "fit" : study.curves[0].placement;
    LinePlot layers = carrier_layers_plot(study, models[i]);
    std::string stem = layers.stem;
    add_curves(stem, carrier_layers_caption(study, models[i]), std::move(layers), placement, stems,
               set);
    for (const std::int64_t window : carrier_windows(study, models[i])) {
      LinePlot depth = carrier_depth_plot(study, models[i], window);
      stem = depth.stem;
      add_curves(stem, carrier_depth_caption(models[i], window), std::move(depth), placement, stems,
                 set);
    }
  }
}

}  // namespace factflow
