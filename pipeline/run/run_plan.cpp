#include "pipeline/run/run_plan.hpp"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>
#include <xxhash.h>

#include "base/error.hpp"
#include "pipeline/run/unit_sizes.hpp"

namespace factflow {
namespace {

// A unit is large enough to keep matrix products busy, small enough to spread over ranks and to
// lose little. Towards the end of a list units become smaller, down to the second number
// (unit_sizes.hpp).
constexpr double kRowsPerUnit[] = {16384, 2048};
constexpr std::uint32_t kPromptsPerEvaluation[] = {512, 64};  // about nine columns each
constexpr std::uint32_t kPromptsPerHeatmap = 8;
constexpr double kMostPrompts = 512;

// Bits of a unit's number.
constexpr int kStageBits = 4, kModelBits = 14, kBeginBits = 32, kCountBits = 14;
static_assert(kStageBits + kModelBits + kBeginBits + kCountBits == 64);
static_assert(static_cast<unsigned>(Stage::kHeatmap) < 1U << kStageBits, "the last of the stages");
static_assert(kMostPrompts < 1 << kCountBits && kPromptsPerEvaluation[0] < 1 << kCountBits &&
              kPromptsPerHeatmap < 1 << kCountBits);
constexpr int kCountAt = 0, kBeginAt = kCountAt + kCountBits, kModelAt = kBeginAt + kBeginBits,
              kStageAt = kModelAt + kModelBits;

// `value` at its place in a unit's number.
std::uint64_t placed(std::uint64_t value, int at, int bits) {
  if (value >> bits != 0) throw std::logic_error("a unit's name does not fit its number");
  return value << at;
}

std::uint32_t taken(std::uint64_t id, int at, int bits) {
  return static_cast<std::uint32_t>(id >> at & ((std::uint64_t{1} << bits) - 1));
}

constexpr double kBytesPerToken = 4;  // of English text, for estimates before anything is tokenized

std::vector<Window> windows_asked(const std::vector<WindowSeries>& series,
                                  const std::vector<std::uint32_t>& asked) {
  std::vector<Window> windows;
  for (const std::uint32_t one : asked)
    windows.insert(windows.end(), series[one].windows.begin(), series[one].windows.end());
  return windows;
}

// One-token rows x layers above them, of all windows of one cut; windows of one start share layers
// (docs/replay.md).
double row_layers(const std::vector<Window>& windows, int layers) {
  double total = 0;
  std::vector<int> longest(static_cast<size_t>(layers) + 1, 0);
  for (const Window& window : windows)
    longest[static_cast<size_t>(window.begin)] =
        std::max(longest[static_cast<size_t>(window.begin)], window.end);
  for (const Window& window : windows)
    total += layers -
             (window.end == longest[static_cast<size_t>(window.begin)] ? window.begin : window.end);
  return total;
}

// Rows of one prompt, the clean run's left out.
double knockouts_asked(const PromptPart& part, const ModelJob& job) {
  double rows = 0;
  for (const AskedEdge& asked : part.edges)
    rows += static_cast<double>(windows_asked(job.sweep, asked.series).size());
  return rows;
}

// Of what is asked of which prompts; 0 is kept for "nothing decides".
std::uint64_t digest_of(const AskedPrompts& asked) {
  std::vector<std::uint32_t> content = asked.prompts;
  for (const PromptPart& part : asked.parts) content.push_back(part.count);
  return std::max<std::uint64_t>(XXH3_64bits(content.data(), content.size() * sizeof(content[0])),
                                 1);
}

}  // namespace

std::uint64_t id_of(const UnitName& unit) {
  return placed(static_cast<std::uint64_t>(unit.stage), kStageAt, kStageBits) |
         placed(unit.model, kModelAt, kModelBits) | placed(unit.begin, kBeginAt, kBeginBits) |
         placed(unit.count, kCountAt, kCountBits);
}

UnitKey key_of(const UnitName& unit) {
  return {id_of(unit), unit.selection};
}

UnitName unit_named(const UnitKey& key) {
  return {static_cast<Stage>(taken(key.unit, kStageAt, kStageBits)),
          taken(key.unit, kModelAt, kModelBits), taken(key.unit, kBeginAt, kBeginBits),
          taken(key.unit, kCountAt, kCountBits), key.selection};
}

std::string describe(const UnitName& unit, const std::string& model) {
  return fmt::format("{} of {}, prompts {} to {}", name_of(unit.stage), model, unit.begin + 1,
                     unit.begin + unit.count);
}

PromptCost estimated_cost(Stage stage, const PromptPart& part, const ModelJob& job,
                          const PlannedModel& model, double tokens) {
  const Architecture& architecture = model.architecture;
  const double head = 2.0 * architecture.hidden * architecture.vocabulary;
  // Everything that is not the embedding is multiplied once per column.
  const double layer = 2.0 * (static_cast<double>(model.parameters) / architecture.layers -
                              (architecture.tied_head ? 1.0 : 2.0) * architecture.hidden *
                                  architecture.vocabulary / architecture.layers);
  double column_layers = tokens * architecture.layers;
  PromptCost cost;
  for (const AskedEdge& asked : part.edges) {
    const std::vector<Window> windows = windows_asked(job.sweep, asked.series);
    column_layers += row_layers(windows, architecture.layers);
    cost.rows += static_cast<double>(windows.size());
  }
  if (stage == Stage::kHeatmap) {
    const std::vector<Window> windows = windows_asked(job.heatmaps, part.heatmaps);
    column_layers += tokens * row_layers(windows, architecture.layers);
    cost.rows += tokens * static_cast<double>(windows.size());
  }
  cost.flops = column_layers * std::max(layer, 1.0) + (1 + cost.rows) * head;
  return cost;
}

std::vector<std::vector<std::uint32_t>> unit_sizes(Stage stage,
                                                   const std::vector<PromptPart>& parts,
                                                   const ModelJob& job) {
  std::vector<SizedPart> sized;
  for (const PromptPart& part : parts) {
    SizedPart& one =
        sized.emplace_back(SizedPart{part.count, kPromptsPerHeatmap, kPromptsPerHeatmap});
    if (stage == Stage::kEvaluate)
      one = {part.count, kPromptsPerEvaluation[0], kPromptsPerEvaluation[1]};
    if (stage == Stage::kSweep) {
      const double rows = std::max(knockouts_asked(part, job), 1.0);
      one.largest =
          static_cast<std::uint32_t>(std::clamp(kRowsPerUnit[0] / rows, 1.0, kMostPrompts));
      one.smallest =
          static_cast<std::uint32_t>(std::clamp(kRowsPerUnit[1] / rows, 1.0, kMostPrompts));
    }
  }
  return unit_sizes(sized);
}

RunPlan::RunPlan(const Config& config, const Dataset& dataset, const PlannedJob& planned)
    : config_(config), dataset_(dataset), planned_(planned) {
  const size_t models = config.models.size(), prompts = dataset.prompts.size();
  if (models >> kModelBits != 0 || prompts >> kBeginBits != 0)
    throw InputError(config.file.string(),
                     fmt::format("at most {} models and {} prompts fit one run",
                                 (1 << kModelBits) - 1, (std::uint64_t{1} << kBeginBits) - 1));
  double bytes = 0;
  for (const Prompt& prompt : dataset.prompts) bytes += static_cast<double>(prompt.text.size());
  tokens_ =
      std::max(1.0, bytes / kBytesPerToken / static_cast<double>(std::max<size_t>(prompts, 1)));
  ranks_.assign(models, std::vector<std::int32_t>(prompts, 0));
  hopes_.assign(models, std::vector<std::int32_t>(prompts, 1));
  evaluations_left_.assign(models, static_cast<std::uint32_t>(prompts));
  digests_.resize(models);
  released_.assign(models, false);
  sweeps_.resize(models);
  heatmaps_.resize(models);
}

Task RunPlan::task(const UnitName& unit) {
  Unit content{unit.stage, unit.model, {}, {}, {}};
  const bool evaluate = unit.stage == Stage::kEvaluate;
  const AskedPrompts& all = asked(unit.stage, unit.model);
  const PromptPart part = evaluate ? PromptPart{} : all.part_of(unit.begin);
  content.edges = part.edges;
  content.heatmaps = part.heatmaps;
  for (std::uint32_t i = unit.begin; i < unit.begin + unit.count; ++i)
    content.prompts.push_back(dataset_.prompts[evaluate ? i : all.prompts[i]]);
  units_.push_back(key_of(unit));
  const PromptCost cost = estimated_cost(unit.stage, part, planned_.job.models[unit.model],
                                         planned_.models[unit.model], tokens_);
  return {id_of(unit),     unit.model,     unit.count * cost.flops,
          encode(content), unit.selection, static_cast<std::uint32_t>(unit.stage)};
}

std::string RunPlan::name_of(std::uint64_t unit) const {
  const UnitName name = unit_named(unit);
  return "unit \"" + describe(name, config_.models[name.model].name) + "\"";
}

std::vector<Task> RunPlan::units_of(Stage stage, std::uint32_t model,
                                    const std::vector<PromptPart>& parts, std::uint64_t selection) {
  const std::vector<std::vector<std::uint32_t>> sizes =
      unit_sizes(stage, parts, planned_.job.models[model]);
  std::vector<Task> tasks;
  for (size_t part = 0; part < parts.size(); ++part) {
    std::uint32_t begin = parts[part].begin;
    for (const std::uint32_t count : sizes[part]) {
      tasks.push_back(task({stage, model, begin, count, selection}));
      begin += count;
    }
  }
  return tasks;
}

std::uint64_t RunPlan::selection(Stage stage, std::uint32_t model) const {
  return stage == Stage::kEvaluate ? 0 : digest_of(asked(stage, model));
}

std::vector<Task> RunPlan::units_asked(Stage stage, std::uint32_t model) {
  return units_of(stage, model, asked(stage, model).parts, selection(stage, model));
}

std::vector<Task> RunPlan::initial() {
  std::vector<Task> tasks;
  const PromptPart all{0, static_cast<std::uint32_t>(dataset_.prompts.size()), {}, {}};
  for (std::uint32_t m = 0; m < config_.models.size(); ++m) {
    std::vector<Task> more = units_of(Stage::kEvaluate, m, {all}, 0);
    std::move(more.begin(), more.end(), std::back_inserter(tasks));
  }
  return tasks;
}

void RunPlan::check_digest(std::uint32_t model, const std::string& digest) {
  std::string& known = digests_[model];
  if (!known.empty() && known != digest)
    throw RunError(
        fmt::format("model {}: its files are not the same on all ranks, or changed since the run "
                    "began ({} against {})",
                    config_.models[model].name, digest, known));
  known = digest;
}

std::vector<Task> RunPlan::completed(std::uint64_t id, std::string result) {
  const UnitName unit = unit_named(id);
  const UnitReport report = report_of(result);
  compute_seconds_ += report.seconds;
  check_digest(unit.model, report.model_digest);
  if (unit.stage != Stage::kEvaluate) return {};
  const EvaluationUnit evaluation = decode_evaluation(result);
  if (evaluation.prompts.size() != unit.count)
    throw RunError("an evaluation of another number of prompts than its unit has");
  for (std::uint32_t i = 0; i < unit.count; ++i)
    ranks_[unit.model][unit.begin + i] =
        evaluation.prompts[i].failure.empty() ? evaluation.prompts[i].rank : 0;
  return evaluated(unit);
}

std::vector<Task> RunPlan::failed(std::uint64_t id, const std::string&) {
  const UnitName unit = unit_named(id);
  return unit.stage == Stage::kEvaluate ? evaluated(unit) : std::vector<Task>{};
}

bool RunPlan::may_release(std::uint32_t model) const {
  const std::vector<std::uint32_t> needed = judges_of(config_, model);
  return std::all_of(needed.begin(), needed.end(),
                     [&](std::uint32_t m) { return evaluations_left_[m] == 0; });
}

std::vector<Task> RunPlan::evaluated(const UnitName& unit) {
  const auto begin = static_cast<std::ptrdiff_t>(unit.begin);
  std::copy_n(ranks_[unit.model].begin() + begin, unit.count, hopes_[unit.model].begin() + begin);
  expected_.reset();
  evaluations_left_[unit.model] -= unit.count;
  if (evaluations_left_[unit.model] > 0) return {};
  std::vector<Task> tasks;
  for (std::uint32_t m = 0; m < config_.models.size(); ++m) {
    if (released_[m] || !may_release(m)) continue;
    std::vector<Task> more = release(m);
    std::move(more.begin(), more.end(), std::back_inserter(tasks));
  }
  return tasks;
}

std::vector<Task> RunPlan::release(std::uint32_t model) {
  released_[model] = true;
  expected_.reset();
  const PlannedModel& planned = planned_.models[model];
  sweeps_[model] = asked_in_sweeps(config_, dataset_, planned, model, ranks_);
  heatmaps_[model] = asked_in_heatmaps(config_, dataset_, planned, model, ranks_);
  std::vector<Task> tasks = units_asked(Stage::kSweep, model),
                    more = units_asked(Stage::kHeatmap, model);
  std::move(more.begin(), more.end(), std::back_inserter(tasks));
  return tasks;
}

std::vector<ExpectedWork> RunPlan::expected() const {
  if (expected_) return *expected_;
  std::vector<ExpectedWork>& work = expected_.emplace();
  for (std::uint32_t m = 0; m < config_.models.size(); ++m) {
    if (released_[m]) continue;
    const PlannedModel& model = planned_.models[m];
    const ModelJob& job = planned_.job.models[m];
    const auto add = [&](Stage stage, const std::vector<PromptPart>& parts) {
      ExpectedWork& one = work.emplace_back(ExpectedWork{static_cast<std::uint32_t>(stage), 0, 0});
      for (const std::vector<std::uint32_t>& units : unit_sizes(stage, parts, job))
        one.units += units.size();
      for (const PromptPart& part : parts)
        one.cost += part.count * estimated_cost(stage, part, job, model, tokens_).flops;
    };
    add(Stage::kSweep, asked_in_sweeps(config_, dataset_, model, m, hopes_).parts);
    add(Stage::kHeatmap, asked_in_heatmaps(config_, dataset_, model, m, hopes_).parts);
  }
  return work;
}

std::vector<Task> RunPlan::split(std::uint64_t id) {
  UnitName unit = unit_named(id);
  if (unit.count < 2) return {};
  unit.selection = selection(unit.stage, unit.model);
  std::vector<Task> halves;
  const std::uint32_t first = unit.count / 2;
  halves.push_back(task({unit.stage, unit.model, unit.begin, first, unit.selection}));
  halves.push_back(
      task({unit.stage, unit.model, unit.begin + first, unit.count - first, unit.selection}));
  return halves;
}

}  // namespace factflow
