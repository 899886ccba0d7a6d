#include "analysis/study.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "analysis/attribution_claims.hpp"
#include "analysis/edit_claims.hpp"
#include "analysis/load_runs.hpp"
#include "analysis/part_claims.hpp"
#include "analysis/prompt_sets.hpp"
#include "analysis/relation_claims.hpp"
#include "analysis/trace_claims.hpp"
#include "base/error.hpp"

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

// The prompts that all models get right, as a set of their own.
ModelData with_common_prompts(const ModelData& model, const std::vector<std::int64_t>& common) {
  ModelData restricted = restrict_model(model, common);
  restricted.prompt_set = kCommonSet;
  restricted.main_set = false;
  return restricted;
}

// The main set of a model: everything. Returns the window of the findings, without ranks and
// counts, for comparisons.
std::optional<WindowData> study_model(const ModelData& model, const StudyOptions& options,
                                      Study& study) {
  std::optional<WindowData> compared;
  for (const std::int64_t size : model.windows) {
    WindowData window = load_window(model, size);
    WindowEffects effects = study_window(window, options.bootstrap, study);
    if (size != window_of(model, study.window)) continue;
    append(study.main_effects, std::move(effects.edges));
    append(study.main_channels, std::move(effects.channels));
    study_groups(window, options.bootstrap.level, study);
    if (!study.common.empty()) {
      const ModelData restricted = with_common_prompts(model, study.common);
      study_window(load_window(restricted, size), options.bootstrap, study);
    }
    if (size != study.window) continue;
    window.cells.rank = window.cells.blocked_edges = window.cells.rerouted = {};
    compared = std::move(window);
  }
  return compared;
}

void study_interventions(const BootstrapOptions& bootstrap, Study& study) {
  for (const ModelData& model : study.run.interventions)
    for (const std::int64_t size : model.windows) {
      const WindowData window = load_window(model, size);
      std::vector<EdgeEffect> effects = measure_effects(window, study.run.prompts, bootstrap).edges;
      append(study.intervention_curves, make_curves(window, effects, bootstrap.level));
      for (EdgeEffect& effect : effects) effect.starts = {};  // they are in the curves now
      append(study.intervention_effects, effects);
      if (size == window_of(model, study.window))
        append(study.main_interventions, std::move(effects));
    }
}

// Without the other names of a checkpoint.
std::vector<EdgeEffect> counted(std::vector<EdgeEffect> effects) {
  std::erase_if(effects, [](const EdgeEffect& effect) { return effect.repeated; });
  return effects;
}

// The claims are about runs of other subjects, not about noise.
std::vector<ModelTraces> of_other_subjects(std::vector<ModelTraces> traces) {
  std::erase_if(traces,
                [](const ModelTraces& of) { return of.corruption != Corruption::kSubject; });
  return traces;
}

std::vector<ModelRelations> without_repeats(const Study& study) {
  std::vector<ModelRelations> relations = study.relations;
  std::erase_if(relations, [&](const ModelRelations& model) {
    return std::any_of(study.run.models.begin(), study.run.models.end(), [&](const ModelData& of) {
      return of.info.name == model.model && !of.repeats.empty();
    });
  });
  return relations;
}

// Leaves prompts within the limits.
void limit_clean(const CleanLimits& limits, ModelData& model, Study& study) {
  std::vector<std::int64_t> kept;
  for (std::size_t i = 0; i < model.clean.size(); ++i)
    if (limits.admit(model.clean[i])) kept.push_back(model.axes.prompts[i]);
  // Knockouts and interventions of one set of prompts are counted once.
  const Kept count{model.info.name, model.prompt_set, kept.size(), model.clean.size()};
  if (std::find(study.kept.begin(), study.kept.end(), count) == study.kept.end())
    study.kept.push_back(count);
  model = restrict_model(model, kept);
}

std::string option_of(const CleanLimits& limits) {
  return fmt::format("--min-p-clean {} --max-p-clean {}", limits.low, limits.high);
}

void check_limits(const CleanLimits& limits) {
  if (!(limits.low >= 0 && limits.low <= limits.high && limits.high <= 1))
    throw InputError(option_of(limits), "expected limits of a probability, the smaller one first");
}

// The clean probabilities of what the limits are asked about.
struct CleanRange {
  double least = 1, most = 0;
  void add(double p) {
    if (std::isnan(p)) return;
    least = std::min(least, p);
    most = std::max(most, p);
  }
};

// What traces, severed paths and their like have left out themselves is counted.
void count_facts(const std::string& model, const char* what, const std::vector<TracedFact>& facts,
                 Study& study, CleanRange& range) {
  for (const TracedFact& fact : facts)
    if (fact.use != FactUse::kNoValue) range.add(fact.high);
  const std::size_t out = count_of(facts, FactUse::kOutsideLimits);
  const std::size_t of = facts.size() - count_of(facts, FactUse::kNoValue);
  study.kept.push_back({model, what, of - out, of});
}

void count_patches(Study& study, CleanRange& range) {
  for (const ModelTraces& traces : study.traces)
    count_facts(traces.model, kTraces, traces.facts, study, range);
  for (const ModelSevering& severing : study.severings)
    count_facts(severing.model, kSeverings, severing.facts, study, range);
  for (const ModelAttributions& attributions : study.attributions)
    count_facts(attributions.model, kAttributions, attributions.facts, study, range);
  for (const ModelMeanKnockouts& knockouts : study.mean_knockouts) {
    const std::size_t of = knockouts.prompts - knockouts.failed;
    study.kept.push_back({knockouts.model, kMeanKnockouts, of - knockouts.outside, of});
  }
  for (const ModelParts& parts : study.parts) {
    const std::size_t of = parts.prompts - parts.failed;
    study.kept.push_back({parts.model, kPartsOfEdges, of - parts.outside, of});
  }
  for (const Surge& surge : study.surges)
    study.kept.push_back({surge.model, kSurges, surge.n, surge.n + surge.outside});
}

void count_edits(Study& study, CleanRange& range) {
  for (const ModelEdits& edits : study.edits) {
    for (const double p : edits.clean) range.add(p);
    const auto kept = std::count(edits.admitted.begin(), edits.admitted.end(), 1);
    study.kept.push_back(
        {edits.model, kEdits, static_cast<std::size_t>(kept), edits.admitted.size()});
  }
}

void limit_clean(const CleanLimits& limits, Study& study) {
  study.p_clean = limits;
  if (!limits.any()) return;
  CleanRange range;
  for (auto* models : {&study.run.models, &study.run.other_sets, &study.run.interventions})
    for (ModelData& model : *models) {
      if (model.windows.empty()) continue;
      for (const double p : model.clean) range.add(p);
      limit_clean(limits, model, study);
    }
  count_patches(study, range);
  count_edits(study, range);
  for (const ModelRelations& model : study.relations)
    study.kept.push_back({model.model, kRelations, model.kept, model.of});
  if (std::any_of(study.kept.begin(), study.kept.end(), [](const Kept& k) { return k.kept > 0; }))
    return;
  throw InputError(
      option_of(limits), "no selected prompt has a clean probability within the limits",
      range.least <= range.most
          ? fmt::format("those of this run lie from {:.3g} to {:.3g}", range.least, range.most)
          : "no prompt is selected");
}

// Questions beyond the paper; of interventions, those within the limits are left.
void study_questions(const StudyOptions& options, Study& study) {
  study.combined = study_combined(study.run, study.window, options.bootstrap);
  study.baselines = study_baselines(study.run, study.window, options.bootstrap);
  study.positions = study_positions(study.run, study.window, options.p_clean, options.bootstrap);
  study.whole_answers =
      study_whole_answers(study.run, study.window, options.p_clean, options.bootstrap);
}

// A claim about which the run has nothing is left out.
void judge_questions(Study& study) {
  std::vector<Claim> claims = judge_surges(study.surges);
  claims.push_back(judge_combined(study.combined));
  claims.push_back(judge_baselines(study.baselines));
  claims.push_back(judge_positions(study.positions));
  claims.push_back(judge_whole_answers(study.whole_answers));
  std::erase_if(claims, [](const Claim& claim) { return claim.models.empty(); });
  append(study.claims, std::move(claims));
}

// Each reader sees one table at a time: a set of prompts at a window size, and the findings.
template <typename T>
void correct_families(std::vector<T>& rows) {
  std::map<std::pair<std::string, std::int64_t>, std::vector<T*>> families;
  for (T& row : rows) families[{row.main_set ? "" : row.prompts, row.window}].push_back(&row);
  for (const auto& [key, family] : families) correct_together(family);
}

void correct_table(std::vector<EdgeEffect>& rows) {
  std::vector<EdgeEffect*> family;
  for (EdgeEffect& effect : rows) family.push_back(&effect);
  correct_together(family);
}

void correct_all(Study& study) {
  correct_families(study.curves);
  correct_families(study.effects);
  correct_families(study.intervention_curves);
  correct_families(study.intervention_effects);
  correct_table(study.main_effects);
  correct_table(study.main_interventions);
  correct_together(study.paired);
}

}  // namespace

Study make_study(RunData run, const StudyOptions& options) {
  Study study;
  study.run = std::move(run);
  study.window = finding_window(study.run, options.window);
  check_limits(options.p_clean);
  study.traces = study_traces(study.run, options.p_clean, options.bootstrap.level);
  study.edits = study_edits(study.run, options.p_clean, options.bootstrap);
  study.mean_knockouts = study_mean_knockouts(study.run, options.p_clean, options.bootstrap.level);
  study.severings = study_severings(study.run, options.p_clean, options.bootstrap.level);
  study.relations = study_relations(study.run, options.p_clean);
  study.parts = study_parts(study.run, options.p_clean, options.bootstrap);
  study.surges = study_surges(study.run, options.p_clean, options.bootstrap);
  study.attributions = study_attributions(study.run, options.p_clean, options.bootstrap);
  limit_clean(options.p_clean, study);
  if (study.run.other_sets.empty() && prompts_differ(study.run.models))
    study.common = common_prompts(study.run.models);
  std::vector<WindowData> compared;  // the same windows of all models
  for (const ModelData& model : study.run.models)
    if (auto window = study_model(model, options, study)) compared.push_back(std::move(*window));
  for (const ModelData& model : study.run.other_sets)
    for (const std::int64_t size : model.windows)
      study_window(load_window(model, size), options.bootstrap, study);
  study_interventions(options.bootstrap, study);
  study.paths = study_paths(study.run, options.bootstrap);
  study.carriers = study_carriers(study.run, options.bootstrap);
  study_questions(options, study);
  const double level = options.bootstrap.level;
  study_pairs(compared, level, study);
  std::erase_if(compared, [](const WindowData& w) { return !w.model->repeats.empty(); });
  study.sensitivity = compare_sizes(compared, level);
  correct_all(study);
  study.claims = judge_claims(counted(study.main_effects), study.main_channels, study.sensitivity);
  append(study.claims, judge_trace_claims(of_other_subjects(study.traces), options.bootstrap));
  append(study.claims, judge_edit_claims(study.edits, options.bootstrap));
  append(study.claims, judge_relation_claims(without_repeats(study), level));
  append(study.claims, judge_part_claims(study.parts, study.window));
  append(study.claims, judge_path_claims(study.paths, study.window));
  append(study.claims, judge_carriers(study.carriers));
  judge_questions(study);
  append(study.claims, judge_attribution_claims(study.attributions, options.bootstrap));
  return study;
}

}  // namespace factflow
