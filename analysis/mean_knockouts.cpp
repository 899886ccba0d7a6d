#include "analysis/mean_knockouts.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "analysis/cell_prompts.hpp"
#include "analysis/load_runs.hpp"
#include "experiments/mean_knockout/mean_knockout_arrays.hpp"
#include "experiments/stored_arrays.hpp"

namespace factflow {
namespace {

// (p' - p) / p out of ln(p' / p), which is exact where p is too small for a float.
MeanKnockoutPoint point_of(const CellWindow& cells, const std::vector<CellPrompt>& prompts,
                           std::size_t item, std::size_t start, double level) {
  std::vector<double> changes;
  std::vector<std::size_t> facts;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const std::size_t cell = (item * prompts.size() + i) * cells.starts.size() + start;
    const auto log_change = static_cast<double>(cells.log_change[cell]);
    if (!prompts[i].used || std::isnan(log_change)) continue;
    changes.push_back(std::expm1(log_change));
    facts.push_back(prompts[i].fact);
  }
  return {changes.size(), count_clusters(facts), mean(changes), standard_error(changes, facts),
          t_interval(changes, facts, level)};
}

ModelMeanKnockouts knockouts_of(const RunData& run, const ModelData& model,
                                const CleanLimits& limits, double level) {
  const CellNames& names = mean_knockout_names();
  const CellAxes axes = load_mean_knockout_axes(model);
  const MeanReferences references = read_mean_references(*model.reader, model.stored_name);
  const std::vector<CellPrompt> prompts = cell_prompts(run, model, axes.prompts, limits);
  ModelMeanKnockouts all{model.info.name,
                         model.info.family,
                         model.info.layers,
                         static_cast<std::int64_t>(references.prompts.size()),
                         references.tokens,
                         references.documents,
                         prompts.size(),
                         0,
                         0,
                         {}};
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    bool any = false;
    for (std::size_t item = 0; item < axes.items.size(); ++item)
      any = any || axes.blocked[item * prompts.size() + i] >= 0;
    all.failed += any ? 0 : 1;
    all.outside += any && !prompts[i].used ? 1 : 0;
  }
  for (const std::int64_t window : cell_windows(names, *model.reader, model.stored_name)) {
    const CellWindow cells =
        cell_window(names, *model.reader, model.stored_name, window, kAllPrompts);
    if (cells.log_change.empty())
      inconsistent(model.reader->arrays_of(model.stored_name).open_group(names.group),
                   "window_" + std::to_string(window), "has no log_change");
    for (std::size_t item = 0; item < axes.items.size(); ++item) {
      const auto [mode, set] = mode_and_set(axes.items[item]);
      MeanKnockoutCurve curve{mode, set, window, cells.starts, {}};
      for (std::size_t start = 0; start < cells.starts.size(); ++start)
        curve.points.push_back(point_of(cells, prompts, item, start, level));
      if (std::any_of(curve.points.begin(), curve.points.end(),
                      [](const MeanKnockoutPoint& point) { return point.n > 0; }))
        all.curves.push_back(std::move(curve));
    }
  }
  return all;
}

}  // namespace

std::vector<ModelMeanKnockouts> study_mean_knockouts(const RunData& run, const CleanLimits& limits,
                                                     double level) {
  std::vector<ModelMeanKnockouts> all;
  for (const ModelData& model : run.models)
    if (model.reader != nullptr && has_mean_knockouts(*model.reader, model.stored_name))
      all.push_back(knockouts_of(run, model, limits, level));
  return all;
}

}  // namespace factflow
