#include <utility>

#include "base/error.hpp"
#include "workers/experiments.hpp"

namespace factflow {

PreparedUnit prepare(const LoadedModel& model, Unit unit) {
  PreparedUnit prepared;
  prepared.failures.resize(unit.prompts.size());
  for (size_t i = 0; i < unit.prompts.size(); ++i) {
    try {
      prepared.prompts.push_back(model.tokenize_prompt(unit.prompts[i]));
      prepared.index.push_back(i);
    } catch (const InputError& error) {
      prepared.failures[i] = error.problem();
    }
  }
  prepared.unit = std::move(unit);
  return prepared;
}

}  // namespace factflow
