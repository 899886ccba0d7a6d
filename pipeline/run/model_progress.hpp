// How far the models of a run are, in prompts: what is computed, what failed, what is still
// missing, and why a set of prompts is empty.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "experiments/table.hpp"
#include "pipeline/coordination/journal.hpp"
#include "pipeline/run/run_plan.hpp"

namespace factflow {

// What is asked of the models, as far as it is known: a plan's word, kept beside the journal for
// those who look at a run without its dataset and checkpoints.
struct AskedCount {
  std::uint32_t prompts = 0;
  std::uint64_t selection = 0;  // as in UnitName: units of other lists do not count
  bool configured = true;       // the configuration has the kind's section
};
struct AskedOfModel {
  std::string name;
  // By kind, as experiment_kinds(); nothing: the models that decide are not evaluated yet.
  std::vector<std::optional<AskedCount>> of_kind;
};
std::vector<AskedOfModel> asked_of_models(const Config& config, const RunPlan& plan);
nlohmann::json to_json(const std::vector<AskedOfModel>& models);
// Throws nlohmann::json::exception for anything else than to_json() makes.
std::vector<AskedOfModel> asked_from_json(const nlohmann::json& json);

struct ModelProgress {
  AskedOfModel asked;
  std::vector<PromptCount> of_kind = std::vector<PromptCount>(experiment_kinds().size());
  std::int64_t right = 0;  // prompts whose answer has rank 1 in the clean run
};
// One for each of `asked`. Reads the payloads of all finished units.
std::vector<ModelProgress> progress_of(const std::vector<AskedOfModel>& asked,
                                       const JournalIndex& journal);

// "gpt2: 200 of 200 prompts evaluated, right on 198 (99.0 %); 120 of 198 selected prompts swept, 78
// missing; heat maps of 8 of 8 prompts"
std::string describe(const ModelProgress& progress);

// Why sets of prompts that experiments draw on are empty for a model, and what to change: a
// sentence each. `planned` and `plan`: of a run whose evaluations are finished.
std::vector<std::string> empty_sets(const Config& config, const Dataset& dataset,
                                    const PlannedJob& planned, const RunPlan& plan);
// Whether experiments are configured and none of them has a prompt for any model.
bool nothing_selected(const Config& config, const RunPlan& plan);

}  // namespace factflow
