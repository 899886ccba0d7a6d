#include "pipeline/run/model_arrays.hpp"

#include <algorithm>
#include <memory>

#include "experiments/table.hpp"

namespace factflow {
namespace {

Subjects subjects_of(const Config& config, const Dataset& dataset, const PlannedJob& planned,
                     const RunPlan& plan, std::size_t kind, std::uint32_t m) {
  Subjects subjects{dataset.prompts, plan.asked(kind, m).prompts, {}, {}};
  std::sort(subjects.asked.begin(), subjects.asked.end());
  const std::vector<std::size_t> sets = sets_of_kind(config, kind);
  for (const std::size_t set : sets)
    subjects.sets.push_back({config.select[set].name, plan.selected(set, m)});
  for (std::size_t i = 0; i < config.experiments[kind].size(); ++i) {
    const Entry& entry = *config.experiments[kind][i];
    Subjects::OfEntry& one = subjects.entries.emplace_back();
    one.asked = planned.models[m].experiments[kind].asked[i];
    if (entry.ids.empty())
      one.set = static_cast<std::size_t>(
          std::find(sets.begin(), sets.end(), prompt_set(config, entry.select)) - sets.begin());
  }
  const AskedPrompts& all = plan.asked(kind, m);
  for (const AskedPart& part : all.parts) {
    const auto first = all.prompts.begin() + part.begin;
    subjects.parts.push_back({{first, first + part.count}, part.asked});
  }
  return subjects;
}

// What is asked of the unit's prompts is the same for all of them.
void add_unit(const UnitName& name, const UnitState& state, const AskedPrompts& all,
              const Config& config, const Dataset& dataset, ArrayMaker& arrays,
              std::vector<FailureRecord>& failures) {
  const Asked& asked = all.part_of(name.begin).asked;
  for (std::uint32_t i = 0; i < name.count; ++i) {
    const std::uint32_t prompt = all.prompts[name.begin + i];
    const Finding* found =
        state.known == UnitState::Known::kResult ? &state.result.prompts.at(i) : nullptr;
    if (found != nullptr && found->failure.empty()) {
      arrays.add(prompt, asked, found->values);
      continue;
    }
    arrays.add_failed(prompt, asked);
    if (found != nullptr)
      failures.push_back({config.models[name.model].name,
                          experiment_kinds()[kind_numbered(name.kind).value()]->name(),
                          std::to_string(dataset.prompts[prompt].id), found->failure});
  }
}

}  // namespace

ModelArrays model_arrays(const Config& config, const Dataset& dataset, const PlannedJob& planned,
                         const RunPlan& plan, std::size_t kind, std::uint32_t model,
                         const std::vector<UnitKey>& units,
                         const std::function<UnitState(const UnitKey&)>& state_of) {
  const Subjects subjects = subjects_of(config, dataset, planned, plan, kind, model);
  const std::unique_ptr<ArrayMaker> arrays =
      planned.models[model].experiments[kind].work->arrays(subjects);
  ModelArrays made;
  for (const UnitKey& unit : units) {
    const UnitName name = unit_named(unit);
    if (name.model != model || kind_numbered(name.kind) != kind) continue;
    const UnitState state = state_of(unit);
    if (state.known == UnitState::Known::kNothing) continue;
    add_unit(name, state, plan.asked(kind, model), config, dataset, *arrays, made.failures);
  }
  made.groups = arrays->groups();
  made.warnings = arrays->warnings();
  return made;
}

}  // namespace factflow
