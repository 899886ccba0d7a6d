#include "pipeline/run/results_builder.hpp"

#include <algorithm>
#include <iterator>
#include <optional>

#include <fmt/format.h>

#include "base/text.hpp"
#include "base/version.hpp"
#include "experiments/table.hpp"
#include "pipeline/run/model_arrays.hpp"
#include "results/results_file.hpp"

namespace factflow {
namespace {}  // namespace

std::string set_in_words(const Config& config, const SelectConfig& set) {
  using Rule = SelectConfig::Rule;
  const std::string right =
      set.rank == 1 ? "right" : fmt::format("among the likeliest {}", set.rank);
  std::vector<std::string> names;
  for (const ModelConfig& model : config.models) names.push_back(model.name);
  switch (set.rule) {
    case Rule::kAllModels:
      return right + " for all of " + join(names);
    case Rule::kTheseModels:
      return right + " for all of " + join(set.models);
    case Rule::kSelf:
      return right + " for the model itself";
    case Rule::kNone:
      return "every prompt";
    case Rule::kIds:
      return "the ids of " + set.ids_file;
  }
  return "";
}

namespace {

// "right for all of a, b", or with several sets "common: the ids of F; own: right for the model
// itself".
std::string selection_in_words(const Config& config) {
  if (config.select.size() == 1) return set_in_words(config, config.select[0]);
  std::vector<std::string> sets;
  for (const SelectConfig& set : config.select)
    sets.push_back(set.name + ": " + set_in_words(config, set));
  return join(sets, "; ");
}

// Collects one model after the other and writes it.
class Builder {
 public:
  // Units in the order of their names: that of their release depends on which model was evaluated
  // first.
  explicit Builder(const ResultsSource& source) : s_(source), units_(source.plan.units()) {
    std::sort(units_.begin(), units_.end());
  }

  ResultsSummary build(const std::filesystem::path& path) {
    count_units();
    ResultsWriter writer(path, info(), prompt_table());
    for (std::uint32_t m = 0; m < s_.config.models.size(); ++m)
      if (facts_[m]) write_model(writer, m);
    for (const BadRecord& bad : s_.dataset.bad)
      failures_.push_back({"", "dataset", "", fmt::format("{}: {}", bad.where, bad.reason)});
    summary_.failures = static_cast<std::int64_t>(failures_.size());
    writer.publish(failures_);
    return summary_;
  }

 private:
  // Counts them, lists those that failed, and takes what is known of models from the first result
  // of each.
  void count_units() {
    facts_.resize(s_.config.models.size());
    for (const UnitKey& unit : units_) {
      s_.between();
      const RecordPlace* place = s_.journal.find(unit);
      if (place == nullptr || place->type != RecordType::kSplit) ++summary_.units_planned;
      if (place == nullptr) continue;
      const UnitName name = unit_named(unit);
      if (is_result(place->type)) {
        ++summary_.units_done;
        if (!facts_[name.model])
          facts_[name.model] = decode_result(s_.journal.read(unit).payload).facts;
      }
      if (place->type == RecordType::kFailed) {
        ++summary_.units_failed;
        const std::string& model = s_.config.models[name.model].name;
        failures_.push_back(
            {model, kind_of(name).name(), "",
             fmt::format("{}: {}", describe(name, model), s_.journal.read(unit).payload)});
      }
    }
    bool released = true;
    for (std::uint32_t m = 0; m < s_.config.models.size(); ++m)
      released = released && s_.plan.released(m);
    summary_.complete =
        released && summary_.units_done + summary_.units_failed == summary_.units_planned;
  }

  static const ExperimentKind& kind_of(const UnitName& unit) {
    return *experiment_kinds()[kind_numbered(unit.kind).value()];
  }

  RunInfo info() const {
    RunInfo info;
    info.name = s_.config.name;
    info.created = s_.created;
    info.factflow_version = version();
    info.config = resolved_yaml(s_.config);
    info.selection = selection_in_words(s_.config);
    for (const ModelConfig& model : s_.config.models) info.models.push_back(model.name);
    info.answer = to_string(s_.config.select[0].answer);
    info.dataset_path = s_.config.dataset.path;
    info.dataset_digest = s_.dataset.digest;
    info.dataset_format = s_.dataset.format;
    for (const auto& facts : facts_) {
      if (!facts) continue;
      info.libtorch = facts->libraries;
      info.host = facts->host;
      info.device = facts->device;
    }
    info.precision = s_.config.run.precision;
    info.elapsed_seconds = s_.plan.compute_seconds();
    info.complete = summary_.complete;
    info.units_done = summary_.units_done;
    info.units_planned = summary_.units_planned;
    return info;
  }

  PromptTable prompt_table() const {
    PromptTable table;
    for (const Prompt& prompt : s_.dataset.prompts) {
      table.id.push_back(prompt.id);
      table.text.push_back(prompt.text);
      table.subject.push_back(prompt.subject);
      table.answer.push_back(prompt.answer);
      table.relation.push_back(prompt.relation);
    }
    table.reference_id = s_.dataset.reference_ids;
    return table;
  }

  void write_model(ResultsWriter& writer, std::uint32_t m) {
    const ModelFacts& facts = *facts_[m];
    writer.begin_model({s_.config.models[m].name, facts.family, s_.config.models[m].path,
                        facts.layers, facts.hidden_size, facts.vocabulary, facts.parameters,
                        facts.checkpoint_digest, facts.tokenizer_digest, facts.layer_blocks,
                        facts.check_runs, facts.check_largest, facts.check_of});
    for (size_t kind = 0; kind < experiment_kinds().size(); ++kind)
      if (kind == kind_of_ranks() || s_.plan.released(m)) write_arrays(writer, kind, m);
  }

  void write_arrays(ResultsWriter& writer, size_t kind, std::uint32_t m) {
    ModelArrays made = model_arrays(s_.config, s_.dataset, s_.planned, s_.plan, kind, m, units_,
                                    [&](const UnitKey& unit) { return state_of(unit); });
    for (const ArrayGroup& group : made.groups) writer.write(group);
    std::move(made.failures.begin(), made.failures.end(), std::back_inserter(failures_));
    for (const std::string& warning : made.warnings)
      summary_.warnings.push_back(s_.config.models[m].name + ": " + warning);
  }

  // The journal's word on a unit: its result, its failure, or nothing (not done, or split).
  UnitState state_of(const UnitKey& unit) const {
    s_.between();
    const RecordPlace* place = s_.journal.find(unit);
    if (place == nullptr || place->type == RecordType::kSplit) return {};
    if (!is_result(place->type)) return {UnitState::Known::kFailed, {}};
    return {UnitState::Known::kResult, decode_result(s_.journal.read(unit).payload)};
  }

  const ResultsSource& s_;
  std::vector<UnitKey> units_;
  ResultsSummary summary_;
  std::vector<std::optional<ModelFacts>> facts_;  // [model]
  std::vector<FailureRecord> failures_;
};

}  // namespace

ResultsSummary build_results(const ResultsSource& source, const std::filesystem::path& path) {
  return Builder(source).build(path);
}

}  // namespace factflow
