// The last token's surge: what happens in the last layers when the last token cannot read itself.
// Which tokens lose what the answer gains, what each block writes for and against it, and of what
// parts the change of its log-probability consists.
#pragma once

#include <vector>

#include "experiments/experiment.hpp"
#include "experiments/surge/surge_arrays.hpp"

namespace factflow {

const ExperimentKind& surge_kind();

struct SurgeConfig : Entry {
  std::vector<int> layers = {};  // how many of the last ones lose the edge; empty = 9 of 64
  int losers = 5;                // tokens that lose most, which are stored
  bool operator==(const SurgeConfig&) const = default;
};
Form<std::vector<SurgeConfig>> surge_form();

}  // namespace factflow
