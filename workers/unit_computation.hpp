// How a unit is computed with a loaded model, whoever asks for it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "experiments/loaded_model.hpp"
#include "workers/job.hpp"
#include "workers/unit.hpp"

namespace factflow {

// A unit whose prompts have their tokens: what can be done before the device is needed.
struct PreparedUnit {
  Unit unit;
  std::vector<TokenizedPrompt> prompts;  // those that have tokens
  std::vector<std::size_t> index;        // which prompt of the unit each of them is
  std::vector<std::string> failures;     // [prompt of the unit] why it has none; empty = it has
};

// Only reads the model's tokenizer, so it may run beside a computation with the model.
PreparedUnit prepare(const LoadedModel& model, Unit unit);

// All that any kind asks about one prompt of the model: what the engine is held against whole
// forwards by.
std::vector<ReplayRequest> requests_to_check(LoadedModel& model, const ModelJob& job,
                                             const TokenizedPrompt& prompt);

// Everything of the result but the seconds. `job`: of the model. Throws what Work::compute()
// throws.
UnitResult compute(LoadedModel& model, const ModelJob& job, const PreparedUnit& prepared);

}  // namespace factflow
