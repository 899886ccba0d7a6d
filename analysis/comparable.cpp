#include "analysis/comparable.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "analysis/load_runs.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/answers/answers_arrays.hpp"
#include "experiments/attribution/attribution_arrays.hpp"
#include "experiments/edit/edit_arrays.hpp"
#include "experiments/heatmap/heatmap_arrays.hpp"
#include "experiments/intervene/intervention_arrays.hpp"
#include "experiments/lre/lre_arrays.hpp"
#include "experiments/mean_knockout/mean_knockout_arrays.hpp"
#include "experiments/parts/parts_arrays.hpp"
#include "experiments/position/position_arrays.hpp"
#include "experiments/sever/sever_arrays.hpp"
#include "experiments/stored_arrays.hpp"
#include "experiments/trace/trace_arrays.hpp"

namespace factflow {
namespace {

// The word by which a run differs from another in meaning; "" where the run does not say.
void require_equal(const std::vector<std::filesystem::path>& files,
                   const std::vector<std::string>& words, const std::string& what,
                   const std::string& key) {
  std::optional<std::size_t> first;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i].empty()) continue;
    if (!first) first = i;
    if (words[i] != words[*first])
      throw InputError(files[i].string(),
                       fmt::format("{} is '{}', in {} it is '{}'", what, words[i],
                                   files[*first].string(), words[*first]),
                       fmt::format("compare runs of one {}", key));
  }
}

// Of all kinds but traces and knockouts by means, whose windows are always centred: they say
// nothing of the others'.
std::string placement_of(const ResultsReader& reader) {
  for (const ModelInfo& model : reader.models()) {
    std::set<std::string> centred;
    for (const TraceMaps& maps : trace_maps(reader, model.name)) centred.insert(maps.group);
    centred.insert(mean_knockout_names().group);
    const hdf5::Group group = reader.arrays_of(model.name);
    for (const std::string& kind : group.names()) {
      if (centred.contains(kind)) continue;
      const hdf5::Group windows = group.open_group(kind);
      for (const std::int64_t size : numbered(windows, "window_"))
        return read_placement(windows.open_group(fmt::format("window_{}", size)));
    }
  }
  return "";
}

using Values = std::vector<std::pair<std::string, std::string>>;  // (run, its value)

// "The runs differ in precision: fp32 (a, b), bf16 (c)."; "" if they do not.
std::string difference(const std::string& what, const Values& values) {
  std::vector<std::string> different;
  for (const auto& [run, value] : values)
    if (std::find(different.begin(), different.end(), value) == different.end())
      different.push_back(value);
  if (different.size() < 2) return "";
  std::vector<std::string> words;
  for (const std::string& value : different) {
    std::vector<std::string> holders;
    for (const auto& [run, its] : values)
      if (its == value) holders.push_back(run);
    words.push_back(fmt::format("{} ({})", value, join(holders)));
  }
  return fmt::format("The runs differ in {}: {}.", what, join(words));
}

Values values_of(const RunData& run, std::string RunInfo::*field) {
  Values values;
  for (const RunSource& source : run.sources) values.emplace_back(source.name, source.info.*field);
  return values;
}

bool is_of(const ModelData& model, const RunSource& source) {
  return model.reader != nullptr && model.reader->digest() == source.digest;
}

// Adds the sizes that a run has, if it has some.
void add_sizes(const RunSource& source, const std::set<std::int64_t>& sizes, Values& values) {
  std::vector<std::string> words;
  for (const std::int64_t size : sizes) words.push_back(std::to_string(size));
  if (!words.empty()) values.emplace_back(source.name, join(words, " and "));
}

Values heatmap_sizes(const RunData& run) {
  Values values;
  for (const RunSource& source : run.sources) {
    std::set<std::int64_t> sizes;
    for (const ModelData& model : run.models)
      if (is_of(model, source))
        for (const std::int64_t size : heatmap_windows(*model.reader, model.stored_name))
          sizes.insert(size);
    add_sizes(source, sizes, values);
  }
  return values;
}

Values intervention_sizes(const RunData& run) {
  Values values;
  for (const RunSource& source : run.sources) {
    std::set<std::int64_t> sizes;
    for (const ModelData& model : run.interventions)
      if (is_of(model, source)) sizes.insert(model.windows.begin(), model.windows.end());
    add_sizes(source, sizes, values);
  }
  return values;
}

// The names of a run's rows of interventions, those with maps included.
std::set<std::string> rows_of(const RunData& run, const RunSource& source) {
  std::set<std::string> rows;
  for (const ModelData& model : run.interventions)
    if (is_of(model, source)) rows.insert(model.axes.items.begin(), model.axes.items.end());
  for (const ModelData& model : run.models)
    if (is_of(model, source))
      for (const InterventionMap& map : intervention_maps(*model.reader, model.stored_name))
        rows.insert(map.row);
  return rows;
}

bool of_noise(const ModelData& model) {
  return read_traced_facts(*model.reader, model.stored_name).corruption == Corruption::kNoise;
}

// "restore h at 1", "restore h from noise at 1", what a run traces at which window size.
std::set<std::string> traces_of(const RunData& run, const RunSource& source) {
  std::set<std::string> traces;
  for (const ModelData& model : run.models)
    if (is_of(model, source) && has_traces(*model.reader, model.stored_name))
      for (const TraceMaps& maps : trace_maps(*model.reader, model.stored_name))
        for (const std::int64_t window :
             heatmap_windows(*model.reader, model.stored_name, maps.group))
          traces.insert(fmt::format("{} {}{} at {}", to_string(maps.direction), maps.site,
                                    of_noise(model) ? " from noise" : "", window));
  return traces;
}

// "layer 4, 3 trials of 5", which linear relations a run fits.
std::set<std::string> relations_of(const RunData& run, const RunSource& source) {
  std::set<std::string> fits;
  for (const ModelData& model : run.models)
    if (is_of(model, source) && has_relations(*model.reader, model.stored_name)) {
      const RelationResults results = read_relations(*model.reader, model.stored_name);
      for (const std::int32_t layer : results.layers)
        fits.insert(fmt::format("layer {}, {} of {}", layer,
                                counted(static_cast<std::uint64_t>(results.trials), "trial"),
                                results.training_count));
    }
  return fits;
}

// "W_o 3", what a run edits.
std::set<std::string> edits_of(const RunData& run, const RunSource& source) {
  std::set<std::string> names;
  for (const ModelData& model : run.models)
    if (is_of(model, source) && has_edits(*model.reader, model.stored_name))
      for (const std::string& name : read_edits(*model.reader, model.stored_name).edits)
        names.insert(name);
  return names;
}

std::string text_of(const std::variant<std::int64_t, double, std::string>& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* number = std::get_if<std::int64_t>(&value)) return std::to_string(*number);
  return fmt::format("{:g}", std::get<double>(value));
}

// How edits were made: of each setting what the runs say that have edits.
std::map<std::string, Values> edit_settings(const RunData& run) {
  std::map<std::string, Values> settings;
  for (const RunSource& source : run.sources) {
    std::map<std::string, std::set<std::string>> words;  // of the run's models
    for (const ModelData& model : run.models)
      if (is_of(model, source) && has_edits(*model.reader, model.stored_name))
        for (const auto& [name, value] : read_edits(*model.reader, model.stored_name).settings)
          words[name].insert(text_of(value));
    for (const auto& [name, values] : words)
      settings[name].emplace_back(source.name, join({values.begin(), values.end()}, " and "));
  }
  return settings;
}

// "s at subject-last", what a run severs.
std::set<std::string> severed_in(const RunData& run, const RunSource& source) {
  std::set<std::string> severed;
  for (const ModelData& model : run.models) {
    if (!is_of(model, source) || !has_severed_paths(*model.reader, model.stored_name)) continue;
    const SeveredPaths paths = read_severed_paths(*model.reader, model.stored_name);
    for (const std::string& at : paths.at)
      for (const std::string& what : paths.severed)
        severed.insert(fmt::format("{} at {}", what, at));
  }
  return severed;
}

// "mean-a subject at 4", what a run knocks out by means.
std::set<std::string> mean_knockouts_of(const RunData& run, const RunSource& source) {
  std::set<std::string> knockouts;
  for (const ModelData& model : run.models) {
    if (!is_of(model, source) || !has_mean_knockouts(*model.reader, model.stored_name)) continue;
    const CellNames& names = mean_knockout_names();
    for (const std::int64_t window : cell_windows(names, *model.reader, model.stored_name))
      for (const std::string& item : load_mean_knockout_axes(model).items)
        knockouts.insert(fmt::format("{} at {}", item, window));
  }
  return knockouts;
}

// "subject->last/head 3 at 4", which parts of edges a run cuts.
std::set<std::string> parts_in(const RunData& run, const RunSource& source) {
  std::set<std::string> parts;
  for (const ModelData& model : run.models) {
    if (!is_of(model, source) || !has_parts(*model.reader, model.stored_name)) continue;
    for (const std::int64_t window : cell_windows(part_names(), *model.reader, model.stored_name))
      for (const std::string& item : load_part_axes(model).items)
        parts.insert(fmt::format("{} at {}", item, window));
  }
  return parts;
}

// "subject->last | between 16 at 5": the items of cells and the windows that a run has of them.
std::set<std::string> items_of(const RunData& run, const RunSource& source, const CellNames& names,
                               CellAxes (*axes_of)(const ModelData&)) {
  std::set<std::string> items;
  for (const ModelData& model : run.models) {
    if (!is_of(model, source) || !model.reader->arrays_of(model.stored_name).has(names.group))
      continue;
    for (const std::int64_t window : cell_windows(names, *model.reader, model.stored_name))
      for (const std::string& item : axes_of(model).items)
        items.insert(fmt::format("{} at {}", item, window));
  }
  return items;
}
std::set<std::string> positions_of(const RunData& run, const RunSource& source) {
  return items_of(run, source, position_names(), load_position_axes);
}
std::set<std::string> whole_answers_of(const RunData& run, const RunSource& source) {
  return items_of(run, source, answers_names(), load_answers_axes);
}

// "last 9 layers"
std::set<std::string> surges_of(const RunData& run, const RunSource& source) {
  std::set<std::string> windows;
  for (const ModelData& model : run.models)
    if (is_of(model, source) && has_surge(*model.reader, model.stored_name))
      for (const std::int64_t window : surge_windows(*model.reader, model.stored_name))
        windows.insert(fmt::format("last {} layers", window));
  return windows;
}

// "gradient of h", "integrated gradients in 5 steps of h": what a run estimates.
std::set<std::string> estimates_of(const RunData& run, const RunSource& source) {
  std::set<std::string> estimates;
  for (const ModelData& model : run.models) {
    if (!is_of(model, source) || !has_attributions(*model.reader, model.stored_name)) continue;
    const AttributedEffects effects = read_attributed_effects(*model.reader, model.stored_name);
    for (const std::string& site : effects.sites) {
      if (effects.has(EstimateMethod::kGradient)) estimates.insert("gradient of " + site);
      if (effects.has(EstimateMethod::kIntegrated))
        estimates.insert(fmt::format("integrated gradients in {} of {}",
                                     counted(static_cast<std::uint64_t>(effects.steps), "step"),
                                     site));
    }
  }
  return estimates;
}

// Of the runs that have some: those that another of them has not. `of`: what a run has, by name.
Values what_others_lack(const RunData& run,
                        std::set<std::string> (*of)(const RunData&, const RunSource&)) {
  std::map<std::string, std::set<std::string>> names;
  std::map<std::string, std::size_t> holders;
  for (const RunSource& source : run.sources)
    if (std::set<std::string> its = of(run, source); !its.empty()) {
      for (const std::string& name : its) ++holders[name];
      names.emplace(source.name, std::move(its));
    }
  Values values;
  for (const RunSource& source : run.sources) {
    if (!names.contains(source.name)) continue;
    std::vector<std::string> words;
    for (const std::string& name : names.at(source.name))
      if (holders.at(name) < names.size()) words.push_back(fmt::format("'{}'", name));
    values.emplace_back(source.name, words.empty() ? "none of these" : join(words));
  }
  return values;
}

}  // namespace

void check_comparable(const std::vector<std::filesystem::path>& files,
                      const std::vector<ResultsReader>& readers) {
  std::vector<std::string> placements, answers;
  for (const ResultsReader& reader : readers) {
    placements.push_back(placement_of(reader));
    answers.push_back(reader.info().answer);
  }
  require_equal(files, placements, "the placement of windows", "placement (key windows.placement)");
  require_equal(files, answers, "the rule of the answers' tokens", "rule (key select.answer)");
}

std::vector<std::string> differences_between_runs(const RunData& run) {
  std::vector<std::string> sentences;
  for (std::string line :
       {difference("precision", values_of(run, &RunInfo::precision)),
        difference("dataset", values_of(run, &RunInfo::dataset_digest)),
        difference("the rule of selection", values_of(run, &RunInfo::selection)),
        difference("the windows of heat maps", heatmap_sizes(run)),
        difference("rows of interventions", what_others_lack(run, rows_of)),
        difference("the windows of interventions", intervention_sizes(run)),
        difference("what is traced", what_others_lack(run, traces_of)),
        difference("what is severed", what_others_lack(run, severed_in)),
        difference("knockouts by means", what_others_lack(run, mean_knockouts_of)),
        difference("parts of edges", what_others_lack(run, parts_in)),
        difference("positions", what_others_lack(run, positions_of)),
        difference("whole answers", what_others_lack(run, whole_answers_of)),
        difference("the last token's surge", what_others_lack(run, surges_of)),
        difference("what is edited", what_others_lack(run, edits_of)),
        difference("linear relations", what_others_lack(run, relations_of)),
        difference("gradient estimates", what_others_lack(run, estimates_of))})
    if (!line.empty()) sentences.push_back(std::move(line));
  for (const auto& [name, values] : edit_settings(run))
    if (std::string line = difference(fmt::format("the edits' setting {}", name), values);
        !line.empty())
      sentences.push_back(std::move(line));
  for (const ModelData& model : run.models)
    if (!model.repeats.empty())
      sentences.push_back(
          fmt::format("{} is the same checkpoint as {}: claims and sentences count it once.",
                      model.info.name, model.repeats));
  return sentences;
}

}  // namespace factflow
