#include "pipeline/run/model_progress.hpp"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.hpp"
#include "pipeline/run/results_builder.hpp"

namespace factflow {
namespace {

std::string percent(std::int64_t part, std::int64_t whole) {
  return fmt::format(
      "{:.1f} %", whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

nlohmann::json count_to_json(const std::optional<AskedCount>& count) {
  if (!count) return nullptr;
  return {{"prompts", count->prompts},
          {"selection", count->selection},
          {"configured", count->configured}};
}

std::optional<AskedCount> count_from_json(const nlohmann::json& json) {
  if (json.is_null()) return std::nullopt;
  return AskedCount{json.at("prompts").get<std::uint32_t>(),
                    json.at("selection").get<std::uint64_t>(), json.value("configured", true)};
}

// Prompts of which something is asked, or nothing if that is not known.
std::optional<AskedCount> asked_in(const Config& config, const RunPlan& plan, size_t kind,
                                   std::uint32_t model) {
  const bool configured = kind == kind_of_ranks() || !config.experiments[kind].empty();
  if (!configured) return AskedCount{0, 0, false};
  if (kind != kind_of_ranks() && !plan.released(model)) return std::nullopt;
  return AskedCount{static_cast<std::uint32_t>(plan.asked(kind, model).prompts.size()),
                    plan.selection(kind, model)};
}

// Whether a unit of a kind belongs to the list of prompts that counts.
bool counts(const UnitName& unit, size_t kind, const AskedOfModel& asked) {
  const std::optional<AskedCount>& of_kind = asked.of_kind[kind];
  return kind == kind_of_ranks() || !of_kind || of_kind->selection == unit.selection;
}

std::int64_t right_answers(const std::string& payload) {
  const ExperimentKind& kind = *experiment_kinds()[kind_of_ranks()];
  const UnitResult unit = decode_result(payload);
  return std::count_if(unit.prompts.begin(), unit.prompts.end(), [&](const Finding& one) {
    return one.failure.empty() && kind.rank_in(one.values) == 1;
  });
}

// Who decides what is in a set, with the share of prompts that each gets right.
std::string judges_in_words(const Config& config, const SelectConfig& set,
                            const std::set<std::uint32_t>& models, const RunPlan& plan) {
  std::vector<std::string> parts;
  for (const std::uint32_t m : models) {
    const std::vector<std::int32_t>& ranks = plan.ranks()[m];
    const auto judged = static_cast<std::int64_t>(ranks.size());
    const auto right = std::count_if(ranks.begin(), ranks.end(), [&](std::int32_t rank) {
      return rank >= 1 && rank <= set.rank;
    });
    parts.push_back(fmt::format("{} on {} of {} ({})", config.models[m].name, right, judged,
                                percent(right, judged)));
  }
  return (set.rank == 1 ? "right are " : fmt::format("within the likeliest {} are ", set.rank)) +
         join(parts);
}

// The models that decide whether a prompt is in the set of `model`.
std::set<std::uint32_t> judges_in(const Config& config, const SelectConfig& set,
                                  std::uint32_t model) {
  std::set<std::uint32_t> deciding;
  for (std::uint32_t m = 0; m < config.models.size(); ++m)
    if (judges(set, config.models[m].name, config.models[model].name)) deciding.insert(m);
  return deciding;
}

std::string sentence_about(const Config& config, size_t index,
                           const std::vector<std::uint32_t>& models, const Dataset& dataset,
                           const RunPlan& plan) {
  const SelectConfig& set = config.select[index];
  std::vector<std::string> names;
  std::set<std::uint32_t> deciding;
  for (const std::uint32_t m : models) {
    names.push_back(config.models[m].name);
    deciding.merge(judges_in(config, set, m));
  }
  const std::string none =
      fmt::format("prompt set {} ({}) holds none of {} for {}", set.name, set_in_words(config, set),
                  counted(dataset.prompts.size(), "prompt"), join(names));
  if (deciding.empty())
    return none +
           (set.rule == SelectConfig::Rule::kIds
                ? ": those that it lists are not among them or failed in the clean run"
                : ": all of them failed in the clean run") +
           "; see the failures";
  return fmt::format(
      "{}: {}; select fewer models in correct_for, a larger rank, or none, or take other prompts "
      "or "
      "models",
      none, judges_in_words(config, set, deciding, plan));
}

}  // namespace

std::vector<AskedOfModel> asked_of_models(const Config& config, const RunPlan& plan) {
  std::vector<AskedOfModel> models;
  for (std::uint32_t m = 0; m < config.models.size(); ++m) {
    AskedOfModel& model = models.emplace_back();
    model.name = config.models[m].name;
    for (size_t kind = 0; kind < experiment_kinds().size(); ++kind)
      model.of_kind.push_back(asked_in(config, plan, kind, m));
  }
  return models;
}

nlohmann::json to_json(const std::vector<AskedOfModel>& models) {
  nlohmann::json list = nlohmann::json::array();
  for (const AskedOfModel& model : models) {
    nlohmann::json asked;
    for (size_t kind = 0; kind < experiment_kinds().size(); ++kind)
      asked[experiment_kinds()[kind]->name()] = count_to_json(model.of_kind.at(kind));
    list.push_back({{"name", model.name}, {"asked", asked}});
  }
  return list;
}

std::vector<AskedOfModel> asked_from_json(const nlohmann::json& json) {
  std::vector<AskedOfModel> models;
  for (const nlohmann::json& model : json) {
    AskedOfModel& one = models.emplace_back();
    one.name = model.at("name").get<std::string>();
    for (const ExperimentKind* kind : experiment_kinds())
      one.of_kind.push_back(model.at("asked").contains(kind->name())
                                ? count_from_json(model.at("asked").at(kind->name()))
                                : AskedCount{0, 0, false});  // a kind that the run's version lacked
  }
  return models;
}

std::vector<ModelProgress> progress_of(const std::vector<AskedOfModel>& asked,
                                       const JournalIndex& journal) {
  std::vector<ModelProgress> models;
  for (const AskedOfModel& model : asked) models.emplace_back().asked = model;
  journal.for_each([&](const JournalRecord& record) {
    const UnitName unit = unit_named({record.unit, record.selection});
    ModelProgress& model = models.at(unit.model);
    const std::optional<size_t> kind = kind_numbered(unit.kind);
    if (!kind || !counts(unit, *kind, model.asked)) return;
    PromptCount& count = model.of_kind[*kind];
    if (record.type == RecordType::kFailed) count.failed += unit.count;
    if (!is_result(record.type)) return;
    const std::uint32_t failed = report_of(record.payload).failed;
    count.failed += failed;
    count.computed += unit.count - failed;
    if (*kind == kind_of_ranks()) model.right += right_answers(record.payload);
  });
  return models;
}

std::string describe(const ModelProgress& model) {
  const auto words = [&](size_t kind) {
    const std::optional<AskedCount>& asked = model.asked.of_kind.at(kind);
    return experiment_kinds()[kind]->progress(model.of_kind.at(kind), asked ? asked->prompts : 0);
  };
  const size_t ranking = kind_of_ranks();
  const std::int64_t judged = model.of_kind[ranking].computed;
  std::string text = fmt::format("{}: {}", model.asked.name, words(ranking));
  if (judged > 0)
    text += fmt::format(", right on {} ({})", model.right, percent(model.right, judged));
  for (size_t kind = 0; kind < experiment_kinds().size(); ++kind) {
    if (kind == ranking) continue;
    const std::optional<AskedCount>& asked = model.asked.of_kind.at(kind);
    if (!asked) return text + "; which ones are selected is not known yet";
    if (!asked->configured) continue;
    if (const std::string more = words(kind); !more.empty()) text += "; " + more;
  }
  return text;
}

std::vector<std::string> empty_sets(const Config& config, const Dataset& dataset,
                                    const PlannedJob& planned, const RunPlan& plan) {
  std::map<size_t, std::vector<std::uint32_t>> models;  // by set
  const auto look_at = [&](const std::string& select, std::uint32_t m) {
    const size_t set = prompt_set(config, select);
    std::vector<std::uint32_t>& without = models[set];
    if (plan.selected(set, m).empty() &&
        std::find(without.begin(), without.end(), m) == without.end())
      without.push_back(m);
  };
  for (std::uint32_t m = 0; m < config.models.size(); ++m)
    for (size_t kind = 0; kind < experiment_kinds().size(); ++kind)
      for (size_t i = 0; i < config.experiments[kind].size(); ++i)
        if (const Entry& entry = *config.experiments[kind][i];
            entry.ids.empty() && !planned.models[m].experiments[kind].asked[i].empty())
          look_at(entry.select, m);
  std::vector<std::string> sentences;
  for (const auto& [set, without] : models)
    if (!without.empty()) sentences.push_back(sentence_about(config, set, without, dataset, plan));
  return sentences;
}

bool nothing_selected(const Config& config, const RunPlan& plan) {
  if (!config.experiments.any()) return false;
  for (std::uint32_t m = 0; m < config.models.size(); ++m)
    for (size_t kind = 0; kind < experiment_kinds().size(); ++kind)
      if (kind != kind_of_ranks() && !plan.asked(kind, m).prompts.empty()) return false;
  return true;
}

}  // namespace factflow
