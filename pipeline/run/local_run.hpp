// A run of one loaded model in this process: the units of its plan one after the other, without
// journal, ranks or files. The numbers are those of a run of the same configuration, bit for bit on
// the same device.
#pragma once

#include <functional>

#include "experiments/loaded_model.hpp"
#include "pipeline/run/model_arrays.hpp"

namespace factflow {

struct LocalProgress {
  std::int64_t units_done = 0, units_known = 0;  // more may be released
  double share = 0;                              // of all work by estimated cost, 0 .. 1
};

struct LocalResults {
  std::vector<ArrayGroup> groups;       // of all kinds, in the order of a results file
  std::vector<FailureRecord> failures;  // of prompts
  std::vector<std::string> warnings;
};

// `config` has one model, whose name alone counts. `between` is called before each unit and at the
// end, and may throw to stop. Throws InputError for what the model cannot have, MemoryError if one
// prompt does not fit, RunError if the engine does not agree with whole forwards.
LocalResults run_locally(const Config& config, const Dataset& dataset, LoadedModel& model,
                         const std::function<void(const LocalProgress&)>& between);

}  // namespace factflow
