// The arrays of one kind of experiment and one model, out of the results of its units.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "pipeline/run/run_plan.hpp"
#include "results/results_file.hpp"

namespace factflow {

// What is known of a unit.
struct UnitState {
  enum class Known { kNothing, kFailed, kResult } known = Known::kNothing;
  UnitResult result = {};  // kResult
};

struct ModelArrays {
  std::vector<ArrayGroup> groups;
  std::vector<FailureRecord> failures;  // of prompts
  // What makes the numbers mean something else than they seem to.
  std::vector<std::string> warnings;
};

// `kind`: place in experiment_kinds(). `units`: of the whole run, in the order in which results are
// taken.
ModelArrays model_arrays(const Config& config, const Dataset& dataset, const PlannedJob& planned,
                         const RunPlan& plan, std::size_t kind, std::uint32_t model,
                         const std::vector<UnitKey>& units,
                         const std::function<UnitState(const UnitKey&)>& state_of);

}  // namespace factflow
