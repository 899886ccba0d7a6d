#include "analysis/load_runs.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <tuple>
#include <unordered_map>

#include <fmt/format.h>

#include "base/text.hpp"
#include "experiments/answers/answers_arrays.hpp"
#include "experiments/evaluate/evaluation_arrays.hpp"
#include "experiments/heatmap/heatmap_arrays.hpp"
#include "experiments/mean_knockout/mean_knockout_arrays.hpp"
#include "experiments/position/position_arrays.hpp"
#include "experiments/stored_arrays.hpp"
#include "experiments/sweep/knockout_arrays.hpp"

namespace factflow {
namespace {

using IdMap = std::map<std::int64_t, std::int64_t>;  // of the ids that change: stored -> here

// The prompts of all runs so far.
class PromptUnion {
 public:
  // Adds a run's prompts; returns which of its ids are others in the union.
  IdMap add(const PromptTable& prompts) {
    IdMap changed;
    std::map<Key, std::size_t>
        seen;  // in this run: two prompts of one run stay two, even if they read the same
    for (std::size_t row = 0; row < prompts.id.size(); ++row) {
      const Key key{prompts.text[row], prompts.subject[row], prompts.answer[row]};
      std::vector<std::int64_t>& same = by_text_[key];
      const std::size_t place = seen[key]++;
      if (place == same.size()) {
        same.push_back(ids_.contains(prompts.id[row]) ? *ids_.rbegin() + 1 : prompts.id[row]);
        append(prompts, row, same.back());
      }
      if (same[place] != prompts.id[row]) changed.emplace(prompts.id[row], same[place]);
    }
    return changed;
  }
  PromptTable take() { return std::move(table_); }

 private:
  using Key = std::tuple<std::string, std::string, std::string>;

  void append(const PromptTable& from, std::size_t row, std::int64_t id) {
    ids_.insert(id);
    table_.id.push_back(id);
    table_.text.push_back(from.text[row]);
    table_.subject.push_back(from.subject[row]);
    table_.answer.push_back(from.answer[row]);
    table_.relation.push_back(from.relation[row]);
  }

  PromptTable table_;
  std::set<std::int64_t> ids_;
  std::map<Key, std::vector<std::int64_t>> by_text_;
};

void rename(std::vector<std::int64_t>& ids, const IdMap& changed) {
  for (std::int64_t& id : ids)
    if (const auto found = changed.find(id); found != changed.end()) id = found->second;
}

std::unordered_map<std::int64_t, std::size_t> rows_of(const std::vector<std::int64_t>& ids) {
  std::unordered_map<std::int64_t, std::size_t> rows;
  for (std::size_t i = 0; i < ids.size(); ++i) rows.emplace(ids[i], i);
  return rows;
}

// The model with what was done to it, of one of its sets of prompts.
ModelData load_set(const ModelData& model, const CellNames& kind, std::size_t set,
                   const std::string& name, const IdMap& changed) {
  ModelData loaded = model;
  loaded.kind = &kind;
  loaded.prompt_set = name;
  loaded.stored_set = set;
  loaded.windows = cell_windows(kind, *model.reader, model.stored_name, set);
  loaded.axes = cell_axes(kind, *model.reader, model.stored_name, set);
  loaded.stored_rows.resize(loaded.axes.prompts.size());
  std::iota(loaded.stored_rows.begin(), loaded.stored_rows.end(), std::size_t{0});
  rename(loaded.axes.prompts, changed);
  const bool rows = &kind == &intervention_names();
  for (const std::string& label : loaded.axes.items)
    loaded.edges.push_back(rows ? name_of_row(label) : parse_edge(label));
  return loaded;
}

void join_rows(ModelData& model, const EvaluationResult& evaluation, const PromptTable& prompts,
               const std::unordered_map<std::int64_t, std::size_t>& prompt_rows) {
  const auto evaluated = rows_of(evaluation.prompt);
  std::map<std::pair<std::string, std::string>, std::size_t> facts;
  for (const std::int64_t id : model.axes.prompts) {
    const auto found = evaluated.find(id);
    const std::size_t row = found == evaluated.end() ? evaluation.prompt.size() : found->second;
    model.evaluation_row.push_back(row);
    const std::size_t place = prompt_rows.at(id);
    model.prompt_row.push_back(place);
    model.fact.push_back(
        facts.emplace(std::pair(prompts.subject[place], prompts.relation[place]), facts.size())
            .first->second);
    model.clean.push_back(found == evaluated.end()
                              ? std::numeric_limits<double>::quiet_NaN()
                              : static_cast<double>(evaluation.probability[row]));
  }
}

std::string unique_name(const std::string& name, std::set<std::string>& used) {
  std::string unique = name;
  for (int i = 2; !used.insert(unique).second; ++i) unique = fmt::format("{}-{}", name, i);
  return unique;
}

std::vector<std::string> sets_of(const CellNames& kind, const ResultsReader& reader,
                                 const std::string& model) {
  if (cell_windows(kind, reader, model).empty()) return {};
  const std::vector<std::string> names = prompt_sets(kind, reader, model);
  return names.empty() ? std::vector<std::string>{kUnnamedSet} : names;
}

// The first set that anything of this kind was asked of, in the order of the configuration; "" if
// there is none.
std::string first_set_of(const CellNames& kind, const ResultsReader& reader) {
  std::string first;
  std::size_t place = std::numeric_limits<std::size_t>::max();
  for (const ModelInfo& info : reader.models()) {
    const std::vector<std::string> names = sets_of(kind, reader, info.name);
    for (std::size_t set = 0; set < std::min(names.size(), place); ++set)
      if (!cell_windows(kind, reader, info.name, set).empty()) {
        first = names[set];
        place = set;
      }
  }
  return first;
}

// Of the sweeps; of the interventions where nothing was swept.
std::string main_set_of(const ResultsReader& reader) {
  const std::string swept = first_set_of(knockout_names(), reader);
  return swept.empty() ? first_set_of(intervention_names(), reader) : swept;
}

// The model with each of the sets that something of this kind was asked of.
std::vector<ModelData> load_sets(const ModelData& bare, const CellNames& kind,
                                 const std::string& main, const IdMap& changed) {
  std::vector<ModelData> loaded;
  const std::vector<std::string> names = sets_of(kind, *bare.reader, bare.stored_name);
  for (std::size_t set = 0; set < names.size(); ++set) {
    ModelData model = load_set(bare, kind, set, names[set], changed);
    if (model.windows.empty()) continue;  // another model's set
    model.main_set = names[set] == main;
    loaded.push_back(std::move(model));
  }
  return loaded;
}

void load_model(const ResultsReader& reader, const ModelInfo& info, const std::string& prefix,
                const IdMap& changed, RunData& run) {
  ModelData bare;
  bare.info = info;
  bare.info.name = prefix + info.name;
  bare.reader = &reader;
  bare.stored_name = info.name;
  for (const auto& [stored, id] : changed) bare.stored_ids.emplace(id, stored);
  const std::string main = main_set_of(reader);
  ModelData first = bare;
  for (ModelData& swept : load_sets(bare, knockout_names(), main, changed))
    if (swept.main_set)
      first = std::move(swept);
    else
      run.other_sets.push_back(std::move(swept));
  for (ModelData& model : load_sets(bare, intervention_names(), main, changed))
    run.interventions.push_back(std::move(model));
  if (has_evaluation(reader, info.name)) first.evaluation = read_evaluation(reader, info.name);
  rename(first.evaluation.prompt, changed);
  run.models.push_back(std::move(first));
}

// values: [edge, stored prompt, start], of which the model's prompts stay; empty = not stored.
template <typename T>
void keep_rows(const ModelData& model, std::vector<T>& values, std::size_t starts) {
  const std::size_t edges = model.edges.size(), row = edges * starts;
  if (values.empty() || row == 0 || values.size() == model.stored_rows.size() * row) return;
  const std::size_t stored = values.size() / row;
  std::vector<T> kept;
  kept.reserve(model.stored_rows.size() * row);
  for (std::size_t edge = 0; edge < edges; ++edge)
    for (const std::size_t prompt : model.stored_rows) {
      const auto from =
          values.begin() + static_cast<std::ptrdiff_t>((edge * stored + prompt) * starts);
      kept.insert(kept.end(), from, from + static_cast<std::ptrdiff_t>(starts));
    }
  values = std::move(kept);
}

void load_one(const ResultsReader& reader, const std::string& prefix, const IdMap& changed,
              RunData& run) {
  for (const ModelInfo& info : reader.models()) load_model(reader, info, prefix, changed, run);
  for (FailureRecord failure : reader.failures()) {
    if (!failure.model.empty()) failure.model = prefix + failure.model;
    run.failures.push_back(std::move(failure));
  }
}

}  // namespace

RunData load_runs(const std::vector<const ResultsReader*>& readers) {
  RunData run;
  PromptUnion prompts;
  std::vector<std::string> names;
  std::set<std::string> used;
  for (const ResultsReader* reader : readers) {
    names.push_back(unique_name(reader->info().name, used));
    run.sources.push_back({names.back(), reader->info(), reader->hdf5_version(), reader->digest()});
    const IdMap changed = prompts.add(reader->prompts());
    load_one(*reader, readers.size() > 1 ? names.back() + "/" : "", changed, run);
  }
  run.name = join(names, " + ");
  run.prompts = prompts.take();
  const auto rows = rows_of(run.prompts.id);
  for (ModelData& model : run.models) join_rows(model, model.evaluation, run.prompts, rows);
  for (auto* models : {&run.other_sets, &run.interventions})
    for (ModelData& model : *models)
      join_rows(model, *evaluation_of(run, model.info.name), run.prompts, rows);
  name_repeated(run.models);
  return run;
}

void name_repeated(std::vector<ModelData>& models) {
  std::map<std::string, std::string> first;
  for (ModelData& model : models) model.repeats.clear();
  for (const bool swept : {true, false})
    for (ModelData& model : models) {
      const std::string& digest = model.info.checkpoint_digest;
      if (model.windows.empty() == swept || digest.empty()) continue;
      const auto [found, is_first] = first.emplace(digest, model.info.name);
      if (!is_first) model.repeats = found->second;
    }
}

WindowData load_window(const ModelData& model, std::int64_t window) {
  WindowData data{
      &model,
      cell_window(*model.kind, *model.reader, model.stored_name, window, model.stored_set),
      {}};
  for (std::size_t edge = 0; edge < data.cells.asked.size(); ++edge)
    if (data.cells.asked[edge] != 0) data.edges.push_back(edge);
  keep_rows(model, data.cells.probability, data.starts());
  keep_rows(model, data.cells.rank, data.starts());
  keep_rows(model, data.cells.log_change, data.starts());
  keep_rows(model, data.cells.blocked_edges, data.starts());
  keep_rows(model, data.cells.rerouted, data.starts());
  return data;
}

std::vector<std::int64_t> heatmap_windows(const ModelData& model, const std::string& group) {
  return heatmap_windows(*model.reader, model.stored_name, group);
}

namespace {

// From stored ids to those of the union of prompts.
void rename_stored(std::vector<std::int64_t>& ids, const ModelData& model) {
  IdMap changed;
  for (const auto& [id, stored] : model.stored_ids) changed.emplace(stored, id);
  rename(ids, changed);
}

}  // namespace

std::vector<std::int64_t> heatmap_prompts(const ModelData& model, std::int64_t window,
                                          const std::string& group) {
  std::vector<std::int64_t> ids = heatmap_prompts(*model.reader, model.stored_name, window, group);
  rename_stored(ids, model);
  return ids;
}

HeatmapResult load_heatmap(const ModelData& model, std::int64_t window, std::int64_t prompt,
                           const std::string& group) {
  const auto changed = model.stored_ids.find(prompt);
  HeatmapResult result =
      read_heatmap(*model.reader, model.stored_name, window,
                   changed == model.stored_ids.end() ? prompt : changed->second, group);
  result.prompt = prompt;
  return result;
}

std::vector<InterventionMap> intervention_maps(const ModelData& model) {
  return intervention_maps(*model.reader, model.stored_name);
}

TracedFacts load_traced_facts(const ModelData& model) {
  TracedFacts facts = read_traced_facts(*model.reader, model.stored_name);
  rename_stored(facts.prompts, model);
  return facts;
}

namespace {

// What sheets and figures of edits rely on.
void check_edits(const ModelData& model, const EditResults& edits) {
  const hdf5::Group group = model.reader->arrays_of(model.stored_name).open_group("edit");
  if (edits.sets.empty()) inconsistent(group, "set", "expected at least one set of prompts");
  for (const std::int32_t layer : edits.layers)
    if (layer >= model.info.layers)
      inconsistent(group, "layer", fmt::format("expected layers below {}", model.info.layers));
  const PromptTable& prompts = model.reader->prompts();
  const std::set<std::int64_t> known(prompts.id.begin(), prompts.id.end());
  const std::size_t others = edits.other_prompts.size();
  for (std::size_t i = 0; i < others; ++i)
    if (edits.other_prompts[i] != -1 && !known.contains(edits.other_prompts[i]))
      inconsistent(group, "other_prompt", "expected ids of prompts, or -1");
  for (std::size_t i = 0; i < edits.other_log_change.size(); ++i)
    if (edits.other_prompts[i % others] == -1 && !std::isnan(edits.other_log_change[i]))
      inconsistent(group, "other_log_change", "expected NaN where there is no other prompt");
}

}  // namespace

EditResults load_edits(const ModelData& model) {
  EditResults edits = read_edits(*model.reader, model.stored_name);
  check_edits(model, edits);
  rename_stored(edits.prompts, model);
  rename_stored(edits.other_prompts, model);
  return edits;
}

TracedFacts load_severed_facts(const ModelData& model) {
  TracedFacts facts = read_severed_facts(*model.reader, model.stored_name);
  rename_stored(facts.prompts, model);
  return facts;
}

SeveredPaths load_severed_paths(const ModelData& model) {
  SeveredPaths paths = read_severed_paths(*model.reader, model.stored_name);
  rename_stored(paths.prompts, model);
  return paths;
}

TracedFacts load_attributed_facts(const ModelData& model) {
  TracedFacts facts = read_attributed_facts(*model.reader, model.stored_name);
  rename_stored(facts.prompts, model);
  return facts;
}

AttributedEffects load_attributed_effects(const ModelData& model) {
  AttributedEffects effects = read_attributed_effects(*model.reader, model.stored_name);
  rename_stored(effects.prompts, model);
  return effects;
}

namespace {

CellAxes load_axes(const CellNames& names, const ModelData& model) {
  CellAxes axes = cell_axes(names, *model.reader, model.stored_name, kAllPrompts);
  rename_stored(axes.prompts, model);
  return axes;
}

}  // namespace

CellAxes load_part_axes(const ModelData& model) {
  return load_axes(part_names(), model);
}

std::vector<CumulatedParts> load_cumulated_parts(const ModelData& model) {
  const hdf5::Group group =
      model.reader->arrays_of(model.stored_name).open_group(part_names().group);
  const auto prompts = group.read_axis<std::int64_t>("prompt");
  std::vector<CumulatedParts> all = read_cumulated_parts(*model.reader, model.stored_name);
  for (CumulatedParts& parts : all) {
    if (parts.prompts != prompts)
      inconsistent(group, "prompt", "expected the same prompts in all groups of parts");
    rename_stored(parts.prompts, model);
  }
  return all;
}

CellAxes load_mean_knockout_axes(const ModelData& model) {
  return load_axes(mean_knockout_names(), model);
}
CellAxes load_position_axes(const ModelData& model) {
  return load_axes(position_names(), model);
}
CellAxes load_answers_axes(const ModelData& model) {
  return load_axes(answers_names(), model);
}

SurgeResult load_surge(const ModelData& model, std::int64_t window) {
  SurgeResult result = read_surge(*model.reader, model.stored_name, window);
  rename_stored(result.prompts, model);
  return result;
}

}  // namespace factflow
