// Maps of single prompts: each token alone cut off from the last one, in every window of some
// sizes.
#pragma once

#include <vector>

#include "experiments/experiment.hpp"

namespace factflow {

const ExperimentKind& heatmap_kind();

struct HeatmapsConfig : Entry {
  std::vector<int> windows = {};  // `window: 5` or `windows: [1, 5, 9]`
  bool operator==(const HeatmapsConfig&) const = default;
};

}  // namespace factflow
