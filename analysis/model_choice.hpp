// Which models an analysis is about, and what it calls them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "analysis/run_data.hpp"

namespace factflow {

struct ModelChoice {
  std::vector<std::string> names;  // of the run, in the order in which they are shown; none = all
  // Name of the run, and what tables, figures and the report call the model.
  std::vector<std::pair<std::string, std::string>> labels;
};

// Leaves the chosen models in the run and gives them their labels. Throws InputError, which lists
// the run's models, for a name that it has not, and for a label that is empty, holds control
// characters or is another model's name.
void choose_models(const ModelChoice& choice, RunData& run);

}  // namespace factflow
