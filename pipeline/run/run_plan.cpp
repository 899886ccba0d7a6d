#include "pipeline/run/run_plan.hpp"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>
#include <xxhash.h>

#include "base/error.hpp"
#include "experiments/table.hpp"
#include "pipeline/run/unit_sizes.hpp"

namespace factflow {
namespace {

// Bits of a unit's number.
constexpr int kKindBits = 4, kModelBits = 14, kBeginBits = 32, kCountBits = 14;
static_assert(kKindBits + kModelBits + kBeginBits + kCountBits == 64);
static_assert(kMostPromptsPerUnit < 1 << kCountBits);
constexpr int kCountAt = 0, kBeginAt = kCountAt + kCountBits, kModelAt = kBeginAt + kBeginBits,
              kKindAt = kModelAt + kModelBits;

// `value` at its place in a unit's number.
std::uint64_t placed(std::uint64_t value, int at, int bits) {
  if (value >> bits != 0) throw std::logic_error("a unit's name does not fit its number");
  return value << at;
}

std::uint32_t taken(std::uint64_t id, int at, int bits) {
  return static_cast<std::uint32_t>(id >> at & ((std::uint64_t{1} << bits) - 1));
}

constexpr double kBytesPerToken = 4;  // of English text, for estimates before anything is tokenized

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

// Of what is asked of which prompts; 0 is kept for "nothing decides".
std::uint64_t digest_of(const AskedPrompts& asked) {
  std::vector<std::uint32_t> content = asked.prompts;
  for (const AskedPart& part : asked.parts) content.push_back(part.count);
  return std::max<std::uint64_t>(XXH3_64bits(content.data(), content.size() * sizeof(content[0])),
                                 1);
}

}  // namespace

std::uint64_t id_of(const UnitName& unit) {
  return placed(unit.kind, kKindAt, kKindBits) | placed(unit.model, kModelAt, kModelBits) |
         placed(unit.begin, kBeginAt, kBeginBits) | placed(unit.count, kCountAt, kCountBits);
}

UnitKey key_of(const UnitName& unit) {
  return {id_of(unit), unit.selection};
}

UnitName unit_named(const UnitKey& key) {
  return {taken(key.unit, kKindAt, kKindBits), taken(key.unit, kModelAt, kModelBits),
          taken(key.unit, kBeginAt, kBeginBits), taken(key.unit, kCountAt, kCountBits),
          key.selection};
}

std::string describe(const UnitName& unit, const std::string& model) {
  const std::optional<size_t> kind = kind_numbered(unit.kind);
  return fmt::format("{} of {}, prompts {} to {}",
                     kind ? experiment_kinds()[*kind]->name() : "unknown", model, unit.begin + 1,
                     unit.begin + unit.count);
}

PromptCost estimated_cost(const Asked& asked, const Work& work, const PlannedModel& model,
                          double tokens) {
  const Architecture& architecture = model.architecture;
  const double head = 2.0 * architecture.hidden * architecture.vocabulary;
  // Everything that is not the embedding is multiplied once per column.
  const double layer = 2.0 * (static_cast<double>(model.parameters) / architecture.layers -
                              (architecture.tied_head ? 1.0 : 2.0) * architecture.hidden *
                                  architecture.vocabulary / architecture.layers);
  PromptCost cost;
  const auto add = [&](double column_layers, double rows, bool several) {
    const double flops = column_layers * std::max(layer, 1.0) + rows * head;
    cost.flops += flops;
    if (several) cost.flops_of_several += flops;
  };
  add(tokens * architecture.layers, 1, false);
  for (const Replays& replays : work.replays(asked, tokens)) {
    const double rows = replays.times * static_cast<double>(replays.windows.size());
    add(replays.times * replays.columns * row_layers(replays.windows, architecture.layers), rows,
        replays.columns > 1);
    cost.rows += rows;
  }
  return cost;
}

std::vector<std::vector<std::uint32_t>> unit_sizes(const std::vector<AskedPart>& parts,
                                                   const Work& work) {
  std::vector<SizedPart> sized;
  for (const AskedPart& part : parts) {
    const UnitLimits limits = work.limits(part.asked);
    if (limits.largest > kMostPromptsPerUnit)
      throw std::logic_error("a kind of experiment wants units that are too large");
    sized.push_back({part.count, limits.largest, limits.smallest});
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
  asked_.assign(experiment_kinds().size(), std::vector<AskedPrompts>(models));
  const size_t ranking = kind_of_ranks();
  for (std::uint32_t m = 0; m < models; ++m)
    asked_[ranking][m] = asked_prompts(config, ranking, dataset, planned.models[m], m, ranks_);
}

Task RunPlan::task(const UnitName& unit) {
  const size_t kind = kind_numbered(unit.kind).value();
  const AskedPrompts& all = asked(kind, unit.model);
  const Asked& of_part = all.part_of(unit.begin).asked;
  Unit content{unit.kind, unit.model, {}, of_part};
  for (std::uint32_t i = unit.begin; i < unit.begin + unit.count; ++i)
    content.prompts.push_back(dataset_.prompts[all.prompts[i]]);
  units_.push_back(key_of(unit));
  const PlannedModel& model = planned_.models[unit.model];
  const PromptCost cost = estimated_cost(of_part, *model.experiments[kind].work, model, tokens_);
  return {id_of(unit),     unit.model,     unit.count * cost.flops,
          encode(content), unit.selection, unit.kind};
}

std::string RunPlan::name_of(std::uint64_t unit) const {
  const UnitName name = unit_named(unit);
  return "unit \"" + describe(name, config_.models[name.model].name) + "\"";
}

void RunPlan::add_units(size_t kind, std::uint32_t model, std::vector<Task>& tasks) {
  const std::vector<AskedPart>& parts = asked(kind, model).parts;
  const std::vector<std::vector<std::uint32_t>> sizes =
      unit_sizes(parts, *planned_.models[model].experiments[kind].work);
  const std::uint64_t digest = selection(kind, model);
  for (size_t part = 0; part < parts.size(); ++part) {
    std::uint32_t begin = parts[part].begin;
    for (const std::uint32_t count : sizes[part]) {
      tasks.push_back(task({experiment_kinds()[kind]->number(), model, begin, count, digest}));
      begin += count;
    }
  }
}

std::uint64_t RunPlan::selection(size_t kind, std::uint32_t model) const {
  return kind == kind_of_ranks() ? 0 : digest_of(asked(kind, model));
}

std::vector<Task> RunPlan::initial() {
  std::vector<Task> tasks;
  for (std::uint32_t m = 0; m < config_.models.size(); ++m) add_units(kind_of_ranks(), m, tasks);
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
  if (kind_numbered(unit.kind) != kind_of_ranks()) return {};
  const UnitResult clean = decode_result(result);
  if (clean.prompts.size() != unit.count)
    throw RunError("clean runs of another number of prompts than their unit has");
  for (std::uint32_t i = 0; i < unit.count; ++i)
    ranks_[unit.model][unit.begin + i] =
        clean.prompts[i].failure.empty()
            ? experiment_kinds()[kind_of_ranks()]->rank_in(clean.prompts[i].values)
            : 0;
  return evaluated(unit);
}

std::vector<Task> RunPlan::failed(std::uint64_t id, const std::string&) {
  const UnitName unit = unit_named(id);
  return kind_numbered(unit.kind) == kind_of_ranks() ? evaluated(unit) : std::vector<Task>{};
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
  std::vector<Task> tasks;
  for (size_t kind = 0; kind < experiment_kinds().size(); ++kind) {
    if (kind == kind_of_ranks()) continue;
    asked_[kind][model] =
        asked_prompts(config_, kind, dataset_, planned_.models[model], model, ranks_);
    add_units(kind, model, tasks);
  }
  return tasks;
}

std::vector<ExpectedWork> RunPlan::expected() const {
  if (expected_) return *expected_;
  std::vector<ExpectedWork>& work = expected_.emplace();
  for (std::uint32_t m = 0; m < config_.models.size(); ++m) {
    if (released_[m]) continue;
    const PlannedModel& model = planned_.models[m];
    for (size_t kind = 0; kind < experiment_kinds().size(); ++kind) {
      if (kind == kind_of_ranks()) continue;
      const Work& of_kind = *model.experiments[kind].work;
      const std::vector<AskedPart> parts =
          asked_prompts(config_, kind, dataset_, model, m, hopes_).parts;
      ExpectedWork& one = work.emplace_back(ExpectedWork{experiment_kinds()[kind]->number(), 0, 0});
      for (const std::vector<std::uint32_t>& units : unit_sizes(parts, of_kind))
        one.units += units.size();
      for (const AskedPart& part : parts)
        one.cost += part.count * estimated_cost(part.asked, of_kind, model, tokens_).flops;
    }
  }
  return work;
}

std::vector<Task> RunPlan::split(std::uint64_t id) {
  UnitName unit = unit_named(id);
  const size_t kind = kind_numbered(unit.kind).value();
  const Work& work = *planned_.models[unit.model].experiments[kind].work;
  if (unit.count < 2 || work.limits(asked(kind, unit.model).part_of(unit.begin).asked).whole)
    return {};
  unit.selection = selection(kind, unit.model);
  std::vector<Task> halves;
  const std::uint32_t first = unit.count / 2;
  halves.push_back(task({unit.kind, unit.model, unit.begin, first, unit.selection}));
  halves.push_back(
      task({unit.kind, unit.model, unit.begin + first, unit.count - first, unit.selection}));
  return halves;
}

}  // namespace factflow
