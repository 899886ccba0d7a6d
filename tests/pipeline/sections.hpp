// The sections of a configuration as their kinds know them.
#pragma once

#include <vector>

#include "experiments/heatmap/heatmap.hpp"
#include "experiments/sweep/sweep.hpp"
#include "experiments/table.hpp"
#include "pipeline/input/config.hpp"

namespace factflow {

inline std::vector<SweepConfig> sweeps_in(const Config& config) {
  return entries_as<SweepConfig>(config.experiments[place_of_section("sweep")]);
}
inline std::vector<HeatmapsConfig> heatmaps_in(const Config& config) {
  return entries_as<HeatmapsConfig>(config.experiments[place_of_section("heatmaps")]);
}

}  // namespace factflow
