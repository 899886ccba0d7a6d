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
  return {{"prompts", count->prompts}, {"selection", count->selection}};
}

std::optional<AskedCount> count_from_json(const nlohmann::json& json) {
  if (json.is_null()) return std::nullopt;
  return AskedCount{json.at("prompts").get<std::uint32_t>(),
                    json.at("selection").get<std::uint64_t>()};
}

// Prompts of which something is asked, or nothing if that is not known.
std::optional<AskedCount> asked_in(const RunPlan& plan, Stage stage, std::uint32_t model) {
  if (!plan.released(model)) return std::nullopt;
  return AskedCount{static_cast<std::uint32_t>(plan.asked(stage, model).prompts.size()),
                    plan.selection(stage, model)};
}

// Where a unit of a model counts; null if it belongs to another list of prompts.
StageCount* place_of(const UnitName& unit, ModelProgress& model) {
  if (unit.stage == Stage::kEvaluate) return &model.evaluate;
  const std::optional<AskedCount>& asked =
      unit.stage == Stage::kSweep ? model.asked.sweep : model.asked.maps;
  if (asked && asked->selection != unit.selection) return nullptr;
  return unit.stage == Stage::kSweep ? &model.sweep : &model.maps;
}

std::int64_t right_answers(const std::string& payload) {
  const EvaluationUnit unit = decode_evaluation(payload);
  return std::count_if(unit.prompts.begin(), unit.prompts.end(), [](const PromptEvaluation& one) {
    return one.failure.empty() && one.rank == 1;
  });
}

// "120 of 198 selected prompts swept, 2 failed, 76 missing"; how many are asked may be unknown (0).
std::string in_words(const StageCount& count, std::uint32_t asked, const std::string& noun,
                     const std::string& done) {
  const std::int64_t missing = asked - count.computed - count.failed;
  const auto computed = static_cast<std::uint64_t>(count.computed);
  return fmt::format(
      "{} {}{}{}",
      asked > 0 ? fmt::format("{} of {}", computed, counted(asked, noun)) : counted(computed, noun),
      done, count.failed > 0 ? fmt::format(", {} failed", count.failed) : "",
      missing > 0 ? fmt::format(", {} missing", missing) : "");
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

std::vector<AskedOfModel> asked_of_models(const Config& config, const Dataset& dataset,
                                          const RunPlan& plan) {
  std::vector<AskedOfModel> models;
  for (std::uint32_t m = 0; m < config.models.size(); ++m)
    models.push_back({config.models[m].name, static_cast<std::uint32_t>(dataset.prompts.size()),
                      asked_in(plan, Stage::kSweep, m), asked_in(plan, Stage::kHeatmap, m)});
  return models;
}

nlohmann::json to_json(const std::vector<AskedOfModel>& models) {
  nlohmann::json list = nlohmann::json::array();
  for (const AskedOfModel& model : models)
    list.push_back({{"name", model.name},
                    {"evaluations", model.evaluations},
                    {"sweep", count_to_json(model.sweep)},
                    {"maps", count_to_json(model.maps)}});
  return list;
}

std::vector<AskedOfModel> asked_from_json(const nlohmann::json& json) {
  std::vector<AskedOfModel> models;
  for (const nlohmann::json& model : json)
    models.push_back({model.at("name").get<std::string>(),
                      model.at("evaluations").get<std::uint32_t>(),
                      count_from_json(model.at("sweep")), count_from_json(model.at("maps"))});
  return models;
}

std::vector<ModelProgress> progress_of(const std::vector<AskedOfModel>& asked,
                                       const JournalIndex& journal) {
  std::vector<ModelProgress> models;
  for (const AskedOfModel& model : asked) models.push_back({model, {}, {}, {}, 0});
  journal.for_each([&](const JournalRecord& record) {
    const UnitName unit = unit_named({record.unit, record.selection});
    ModelProgress& model = models.at(unit.model);
    StageCount* count = place_of(unit, model);
    if (count == nullptr) return;
    if (record.type == RecordType::kFailed) count->failed += unit.count;
    if (!is_result(record.type)) return;
    const std::uint32_t failed = report_of(record.payload).failed;
    count->failed += failed;
    count->computed += unit.count - failed;
    if (unit.stage == Stage::kEvaluate) model.right += right_answers(record.payload);
  });
  return models;
}

std::string describe(const ModelProgress& model) {
  std::string text =
      fmt::format("{}: {}", model.asked.name,
                  in_words(model.evaluate, model.asked.evaluations, "prompt", "evaluated"));
  if (model.evaluate.computed > 0)
    text += fmt::format(", right on {} ({})", model.right,
                        percent(model.right, model.evaluate.computed));
  if (!model.asked.sweep || !model.asked.maps)
    return text + "; which ones are selected is not known yet";
  text += model.asked.sweep->prompts == 0 ? "; no prompt to sweep"
                                          : "; " + in_words(model.sweep, model.asked.sweep->prompts,
                                                            "selected prompt", "swept");
  if (model.asked.maps->prompts > 0)
    text += "; heat maps of " + in_words(model.maps, model.asked.maps->prompts, "prompt", "drawn");
  return text;
}

std::string describe_answers_of(const std::string& model, const std::vector<std::int32_t>& ranks) {
  const auto right = std::count(ranks.begin(), ranks.end(), 1);
  const auto failed = std::count(ranks.begin(), ranks.end(), 0);
  const std::int64_t judged = static_cast<std::int64_t>(ranks.size()) - failed;
  return fmt::format("{}: right on {} of {} ({}){}", model, right,
                     counted(static_cast<std::uint64_t>(judged), "prompt"), percent(right, judged),
                     failed > 0 ? fmt::format(", {} failed", failed) : "");
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
  for (std::uint32_t m = 0; m < config.models.size(); ++m) {
    for (size_t i = 0; i < config.sweep.size(); ++i)
      if (!planned.models[m].sweeps[i].empty()) look_at(config.sweep[i].select, m);
    for (size_t i = 0; i < config.heatmaps.size(); ++i)
      if (config.heatmaps[i].ids.empty() && !planned.models[m].heatmaps[i].empty())
        look_at(config.heatmaps[i].select, m);
  }
  std::vector<std::string> sentences;
  for (const auto& [set, without] : models)
    if (!without.empty()) sentences.push_back(sentence_about(config, set, without, dataset, plan));
  return sentences;
}

bool nothing_selected(const Config& config, const RunPlan& plan) {
  if (config.sweep.empty() && config.heatmaps.empty()) return false;
  for (std::uint32_t m = 0; m < config.models.size(); ++m)
    for (const Stage stage : {Stage::kSweep, Stage::kHeatmap})
      if (!plan.asked(stage, m).prompts.empty()) return false;
  return true;
}

}  // namespace factflow
