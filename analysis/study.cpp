#include "analysis/study.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>
#include <utility>

#include "analysis/load_runs.hpp"
#include "analysis/prompt_sets.hpp"

namespace factflow {
namespace {

// Pairs grow with the square of the models: beyond this, each model is compared with the first one
// only.
constexpr std::size_t kMostModelsForAllPairs = 20;

template <typename T>
void append(std::vector<T>& to, std::vector<T> from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

void study_groups(const WindowData& window, double level, Study& study) {
  append(study.by_relation, group_effects(window, study.run.prompts, Grouping::kRelation, level));
  append(study.by_subject_length,
         group_effects(window, study.run.prompts, Grouping::kSubjectLength, level));
  append(study.by_distance, group_effects(window, study.run.prompts, Grouping::kDistance, level));
}

void study_pairs(const std::vector<WindowData>& windows, double level, Study& study) {
  study.all_pairs = windows.size() <= kMostModelsForAllPairs;
  const std::size_t firsts = study.all_pairs ? windows.size() : 1;
  for (std::size_t a = 0; a < firsts; ++a)
    for (std::size_t b = a + 1; b < windows.size(); ++b)
      append(study.paired, paired_differences(windows[a], windows[b], level));
}

// Curves and effects of one window, added to the study; returns the effects.
WindowEffects study_window(const WindowData& window, const BootstrapOptions& bootstrap,
                           Study& study) {
  WindowEffects effects = measure_effects(window, study.run.prompts, bootstrap);
  append(study.curves, make_curves(window, effects.edges, bootstrap.level));
  for (EdgeEffect& effect : effects.edges) effect.starts = {};  // they are in the curves now
  append(study.effects, effects.edges);
  append(study.channels, effects.channels);
  return effects;
}

// A window size that was asked of another set of prompts only has no cells.
bool has_cells(const WindowData& window) {
  return std::any_of(window.cells.probability.begin(), window.cells.probability.end(),
                     [](float p) { return !std::isnan(p); });
}

// The main set of a model: everything. Returns the window of the findings, without ranks, for
// comparisons.
std::optional<WindowData> study_model(const ModelData& model, const StudyOptions& options,
                                      Study& study) {
  std::optional<WindowData> compared;
  for (const std::int64_t size : model.windows) {
    WindowData window = load_window(model, size);
    const bool main = size == window_of(model, study.window);
    if (!main && !has_cells(window)) continue;
    WindowEffects effects = study_window(window, options.bootstrap, study);
    if (!main) continue;
    append(study.main_effects, std::move(effects.edges));
    append(study.main_channels, std::move(effects.channels));
    study_groups(window, options.bootstrap.level, study);
    if (!study.common.empty()) {
      const ModelData restricted = restrict_model(model, study.common);
      study_window(restrict_window(window, restricted), options.bootstrap, study);
    }
    if (size != study.window) continue;
    window.cells.rank = {};
    compared = std::move(window);
  }
  return compared;
}

}  // namespace

Study make_study(RunData run, const StudyOptions& options) {
  Study study;
  study.run = std::move(run);
  study.window = finding_window(study.run.models, options.window);
  if (study.run.other_sets.empty() && prompts_differ(study.run.models))
    study.common = common_prompts(study.run.models);
  std::vector<WindowData> compared;
  for (const ModelData& model : study.run.models)
    if (auto window = study_model(model, options, study)) compared.push_back(std::move(*window));
  for (const ModelData& model : study.run.other_sets)
    for (const std::int64_t size : model.windows)
      if (const WindowData window = load_window(model, size); has_cells(window))
        study_window(window, options.bootstrap, study);
  const double level = options.bootstrap.level;
  study_pairs(compared, level, study);
  study.sensitivity = compare_sizes(compared, level);
  study.claims = judge_claims(study.main_effects, study.main_channels, study.sensitivity);
  return study;
}

}  // namespace factflow
