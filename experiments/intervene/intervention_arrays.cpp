#include "experiments/intervene/intervention_arrays.hpp"

#include <fmt/format.h>

#include "experiments/stored_arrays.hpp"

namespace factflow {
namespace {

constexpr const char* kMaps = "intervention_map_";

}  // namespace

const CellNames& intervention_names() {
  static const CellNames names = {
      "intervention",
      "row",
      "what is done to the run, by the name of its row in the configuration",
      "touched",
      "(target, source) token pairs that lose their edge and tokens that are written, in one "
      "layer; 0 = the prompt has none",
      "under the interventions",
      "nothing to touch",
      "configuration"};
  return names;
}

MapNames intervention_map_names(std::int64_t index, const std::string& row) {
  return {fmt::format("{}{}", kMaps, index), "text of the token that the row is about",
          "under the interventions", row};
}

std::vector<InterventionMap> intervention_maps(const ResultsReader& reader,
                                               const std::string& model) {
  const hdf5::Group of_model = reader.arrays_of(model);
  std::vector<InterventionMap> maps;
  for (const std::int64_t index : numbered(of_model, kMaps)) {
    InterventionMap map{fmt::format("{}{}", kMaps, index), ""};
    const hdf5::Group windows = of_model.open_group(map.group);
    for (const std::int64_t size : numbered(windows, "window_"))
      map.row = windows.open_group(fmt::format("window_{}", size)).text_attribute("row");
    maps.push_back(std::move(map));
  }
  return maps;
}

}  // namespace factflow
