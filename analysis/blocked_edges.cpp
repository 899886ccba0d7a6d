#include "analysis/blocked_edges.hpp"

#include <fmt/format.h>

#include "base/text.hpp"

namespace factflow {
namespace {

// Of the cells of one or several curves.
struct CellCounts {
  std::size_t cells = 0, without_edges = 0, rerouted = 0;
  double layers = 0;  // that route differently, summed over the cells
};

void add(const Curve& curve, CellCounts& counts) {
  for (const CurvePoint& point : curve.points) {
    counts.cells += point.n;
    counts.without_edges += point.without_edges;
    counts.rerouted += point.rerouted;
    if (point.rerouted > 0) counts.layers += point.rerouted_layers * static_cast<double>(point.n);
  }
}

std::string share(std::size_t part, std::size_t whole) {
  return fmt::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

}  // namespace

std::vector<std::string> blocked_edges_in_words(const Study& study) {
  std::vector<std::string> lines;
  for (const ModelData& model : study.run.models) {
    std::vector<std::string> without;
    CellCounts all;
    const std::int64_t window = window_of(model, study.window);
    for (const Curve& curve : study.curves) {
      if (curve.model != model.info.name || !curve.main_set || curve.window != window) continue;
      CellCounts counts;
      add(curve, counts);
      add(curve, all);
      if (counts.without_edges > 0)
        without.push_back(fmt::format("{} ({} of the cells)", curve.edge.display(),
                                      share(counts.without_edges, counts.cells)));
    }
    const std::string size = counted(static_cast<std::size_t>(window), "layer");
    if (!without.empty())
      lines.push_back(fmt::format(
          "{}: in some windows of {} no layer has an edge to block: {}. It is beyond the reach of "
          "sliding layers, or the layers have no mixer on the path; such a run is the clean one, "
          "and means count it as no change.",
          model.info.name, size, join(without)));
    if (all.rerouted > 0)
      lines.push_back(fmt::format(
          "{}: in {} of the knockouts in windows of {} some token goes to other experts than in "
          "the clean run, in {:.1f} of the {} on average.",
          model.info.name, share(all.rerouted, all.cells), size,
          all.layers / static_cast<double>(all.rerouted),
          counted(static_cast<std::size_t>(model.info.layers), "layer")));
  }
  return lines;
}

}  // namespace factflow
