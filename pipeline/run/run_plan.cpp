#include "pipeline/run/run_plan.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <xxhash.h>

#include "base/error.hpp"

namespace factflow {
namespace {

// A unit is large enough to keep matrix products busy, small enough to spread over ranks and to lose little.
constexpr double kRowsPerUnit = 16384;
constexpr std::uint32_t kPromptsPerEvaluation = 512;  // a unit's name has 10 bits for the number of its prompts
constexpr std::uint32_t kPromptsPerHeatmap = 8;
constexpr double kBytesPerToken = 4;  // of English text, for estimates before anything is tokenized

size_t window_count(const std::vector<WindowSeries>& series) {
  size_t count = 0;
  for (const WindowSeries& one : series) count += one.windows.size();
  return count;
}

// One-token rows x layers above them, of all windows of one cut; windows of one start share layers (docs/replay.md).
double row_layers(const std::vector<WindowSeries>& series, int layers) {
  double total = 0;
  std::vector<int> longest(static_cast<size_t>(layers) + 1, 0);
  for (const WindowSeries& one : series)
    for (const Window& window : one.windows) longest[static_cast<size_t>(window.begin)] = std::max(longest[static_cast<size_t>(window.begin)], window.end);
  for (const WindowSeries& one : series)
    for (const Window& window : one.windows)
      total += layers - (window.end == longest[static_cast<size_t>(window.begin)] ? window.begin : window.end);
  return total;
}

// 16 bits.
std::uint32_t digest_of(const std::vector<std::uint32_t>& selected) {
  return static_cast<std::uint32_t>(XXH3_64bits(selected.data(), selected.size() * sizeof(selected[0])) & 0xffff);
}

}  // namespace

std::uint64_t id_of(const UnitName& unit) {
  return static_cast<std::uint64_t>(unit.stage) << 62 | static_cast<std::uint64_t>(unit.model) << 50 |
         static_cast<std::uint64_t>(unit.begin) << 26 | static_cast<std::uint64_t>(unit.count) << 16 | unit.selection;
}

UnitName unit_named(std::uint64_t id) {
  return {static_cast<Stage>(id >> 62), static_cast<std::uint32_t>(id >> 50 & 0xfff), static_cast<std::uint32_t>(id >> 26 & 0xffffff),
          static_cast<std::uint32_t>(id >> 16 & 0x3ff), static_cast<std::uint32_t>(id & 0xffff)};
}

std::string describe(const UnitName& unit, const std::string& model) {
  return fmt::format("{} of {}, prompts {} to {}", name_of(unit.stage), model, unit.begin + 1, unit.begin + unit.count);
}

UnitSizes unit_sizes(const ModelJob& model) {
  const double rows = static_cast<double>(model.edges.size() * window_count(model.sweep));
  return {kPromptsPerEvaluation, static_cast<std::uint32_t>(std::clamp(kRowsPerUnit / std::max(rows, 1.0), 1.0, 512.0)),
          kPromptsPerHeatmap};
}

double estimated_flops(const UnitName& unit, const ModelJob& job, const PlannedModel& model, double tokens) {
  const Architecture& architecture = model.architecture;
  const double head = 2.0 * architecture.hidden * architecture.vocabulary;
  // Everything that is not the embedding is multiplied once per column.
  const double layer = 2.0 * (static_cast<double>(model.parameters) / architecture.layers -
                              (architecture.tied_head ? 1.0 : 2.0) * architecture.hidden * architecture.vocabulary / architecture.layers);
  double column_layers = tokens * architecture.layers, rows = 1;
  if (unit.stage == Stage::kSweep) {
    column_layers += static_cast<double>(job.edges.size()) * row_layers(job.sweep, architecture.layers);
    rows += static_cast<double>(job.edges.size() * window_count(job.sweep));
  } else if (unit.stage == Stage::kHeatmap) {
    column_layers += tokens * row_layers(job.heatmaps, architecture.layers);
    rows += tokens * static_cast<double>(window_count(job.heatmaps));
  }
  return unit.count * (column_layers * std::max(layer, 1.0) + rows * head);
}

std::vector<std::uint32_t> select_prompts(const Config& config, const Dataset& dataset, std::uint32_t model,
                                          const std::vector<std::vector<std::int32_t>>& ranks) {
  using Rule = SelectConfig::Rule;
  std::vector<std::uint32_t> judges;  // models that must be right
  for (std::uint32_t m = 0; m < config.models.size(); ++m) {
    const auto& names = config.select.models;
    if (config.select.rule == Rule::kAllModels || (config.select.rule == Rule::kSelf && m == model) ||
        (config.select.rule == Rule::kTheseModels && std::find(names.begin(), names.end(), config.models[m].name) != names.end()))
      judges.push_back(m);
  }
  std::set<std::int64_t> ids;
  if (config.select.rule == Rule::kIds) {
    const std::vector<std::int64_t> listed = read_ids(config.select.ids_file);
    ids.insert(listed.begin(), listed.end());
  }
  std::vector<std::uint32_t> selected;
  for (std::uint32_t p = 0; p < dataset.prompts.size(); ++p) {
    if (ranks[model][p] == 0) continue;  // failed in this model
    const bool right = std::all_of(judges.begin(), judges.end(), [&](std::uint32_t m) { return ranks[m][p] == 1; });
    if (right && (config.select.rule != Rule::kIds || ids.count(dataset.prompts[p].id) != 0)) selected.push_back(p);
  }
  return selected;
}

RunPlan::RunPlan(const Config& config, const Dataset& dataset, const PlannedJob& planned)
    : config_(config), dataset_(dataset), planned_(planned) {
  const size_t models = config.models.size(), prompts = dataset.prompts.size();
  if (models >= 1 << 12 || prompts >= 1 << 24)
    throw InputError(config.file.string(), fmt::format("at most {} models and {} prompts fit one run", (1 << 12) - 1, (1 << 24) - 1));
  double bytes = 0;
  for (const Prompt& prompt : dataset.prompts) bytes += static_cast<double>(prompt.text.size());
  tokens_ = std::max(1.0, bytes / kBytesPerToken / static_cast<double>(std::max<size_t>(prompts, 1)));
  ranks_.assign(models, std::vector<std::int32_t>(prompts, 0));
  evaluations_left_.assign(models, static_cast<std::uint32_t>(prompts));
  digests_.resize(models);
  released_.assign(models, false);
  selected_.resize(models);
}

Task RunPlan::task(const UnitName& unit) {
  Unit content{unit.stage, unit.model, {}};
  for (std::uint32_t i = unit.begin; i < unit.begin + unit.count; ++i)
    content.prompts.push_back(dataset_.prompts[unit.stage == Stage::kEvaluate ? i : selected_[unit.model][i]]);
  units_.push_back(id_of(unit));
  return {id_of(unit), unit.model, estimated_flops(unit, planned_.job.models[unit.model], planned_.models[unit.model], tokens_),
          encode(content)};
}

std::string RunPlan::name_of(std::uint64_t unit) const {
  const UnitName name = unit_named(unit);
  return "unit \"" + describe(name, config_.models[name.model].name) + "\"";
}

// Of `all`, a unit as long as its list.
std::vector<Task> RunPlan::slices(const UnitName& all, std::uint32_t per_unit) {
  std::vector<Task> tasks;
  for (std::uint32_t begin = 0; begin < all.count; begin += per_unit) {
    UnitName unit = all;
    unit.begin = begin;
    unit.count = std::min(per_unit, all.count - begin);
    tasks.push_back(task(unit));
  }
  return tasks;
}

std::vector<Task> RunPlan::initial() {
  std::vector<Task> tasks;
  for (std::uint32_t m = 0; m < config_.models.size(); ++m) {
    const auto prompts = static_cast<std::uint32_t>(dataset_.prompts.size());
    std::vector<Task> more = slices({Stage::kEvaluate, m, 0, prompts, 0}, unit_sizes(planned_.job.models[m]).evaluate);
    std::move(more.begin(), more.end(), std::back_inserter(tasks));
  }
  return tasks;
}

std::vector<Task> RunPlan::completed(std::uint64_t id, std::string result) {
  const UnitName unit = unit_named(id);
  compute_seconds_ += report_of(result).seconds;
  if (unit.stage != Stage::kEvaluate) return {};
  const EvaluationUnit evaluation = decode_evaluation(result);
  if (evaluation.prompts.size() != unit.count) throw RunError("an evaluation of another number of prompts than its unit has");
  const std::string digest = evaluation.facts.checkpoint_digest + " " + evaluation.facts.tokenizer_digest;
  std::string& known = digests_[unit.model];
  if (!known.empty() && known != digest)
    throw RunError(fmt::format("model {}: its files are not the same on all ranks, or changed since the run began ({} against {})",
                               config_.models[unit.model].name, digest, known));
  known = digest;
  for (std::uint32_t i = 0; i < unit.count; ++i)
    ranks_[unit.model][unit.begin + i] = evaluation.prompts[i].failure.empty() ? evaluation.prompts[i].rank : 0;
  return evaluated(unit);
}

std::vector<Task> RunPlan::failed(std::uint64_t id, const std::string&) {
  const UnitName unit = unit_named(id);
  return unit.stage == Stage::kEvaluate ? evaluated(unit) : std::vector<Task>{};
}

std::vector<Task> RunPlan::evaluated(const UnitName& unit) {
  evaluations_left_[unit.model] -= unit.count;
  if (evaluations_left_[unit.model] > 0) return {};
  const auto done = [&](std::uint32_t m) { return evaluations_left_[m] == 0; };
  const auto needs = [&](std::uint32_t judge) {
    const auto& names = config_.select.models;
    return config_.select.rule == SelectConfig::Rule::kAllModels ||
           (config_.select.rule == SelectConfig::Rule::kTheseModels &&
            std::find(names.begin(), names.end(), config_.models[judge].name) != names.end());
  };
  const auto models = static_cast<std::uint32_t>(config_.models.size());
  for (std::uint32_t judge = 0; judge < models; ++judge)
    if (needs(judge) && !done(judge)) return {};
  std::vector<Task> tasks;
  for (std::uint32_t m = 0; m < models; ++m) {
    if (released_[m] || !done(m)) continue;
    std::vector<Task> more = release(m);
    std::move(more.begin(), more.end(), std::back_inserter(tasks));
  }
  return tasks;
}

std::vector<Task> RunPlan::release(std::uint32_t model) {
  released_[model] = true;
  selected_[model] = select_prompts(config_, dataset_, model, ranks_);
  const ModelJob& job = planned_.job.models[model];
  const UnitSizes sizes = unit_sizes(job);
  const auto count = static_cast<std::uint32_t>(selected_[model].size());
  const std::uint32_t digest = digest_of(selected_[model]);
  std::vector<Task> tasks;
  if (!job.edges.empty()) tasks = slices({Stage::kSweep, model, 0, count, digest}, sizes.sweep);
  if (config_.heatmaps) {
    const auto wanted = static_cast<std::uint32_t>(std::min<std::int64_t>(config_.heatmaps->prompts, count));
    std::vector<Task> more = slices({Stage::kHeatmap, model, 0, wanted, digest}, sizes.heatmap);
    std::move(more.begin(), more.end(), std::back_inserter(tasks));
  }
  return tasks;
}

std::vector<Task> RunPlan::split(std::uint64_t id) {
  UnitName unit = unit_named(id);
  if (unit.count < 2) return {};
  std::vector<Task> halves;
  const std::uint32_t first = unit.count / 2;
  halves.push_back(task({unit.stage, unit.model, unit.begin, first, unit.selection}));
  halves.push_back(task({unit.stage, unit.model, unit.begin + first, unit.count - first, unit.selection}));
  return halves;
}

}  // namespace factflow
