// What interventions did to the answers of a model, in the results file.
//
// Groups MODEL/intervention and MODEL/intervention/window_N hold the rows of the configuration as
// experiments/cell_arrays.hpp says: items are rows. A row that takes one token after the other has
// maps of single prompts instead, in groups MODEL/intervention_map_K/window_N with the row's name
// as the attribute `row` (experiments/heatmap/heatmap_arrays.hpp); K counts such rows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/cell_arrays.hpp"
#include "experiments/heatmap/heatmap_arrays.hpp"

namespace factflow {

const CellNames& intervention_names();
// Of the `index`-th row that takes tokens one by one.
MapNames intervention_map_names(std::int64_t index, const std::string& row);

// The rows with maps that a model has in the file.
struct InterventionMap {
  std::string group;  // for heatmap_windows(), heatmap_prompts() and read_heatmap()
  std::string row;    // its name
};
// Throws InputError for what the functions above did not make.
std::vector<InterventionMap> intervention_maps(const ResultsReader& reader,
                                               const std::string& model);

}  // namespace factflow
