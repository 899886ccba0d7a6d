// Knockouts by means of a model in the results file: groups MODEL/mean_knockout and
// MODEL/mean_knockout/window_N (experiments/cell_arrays.hpp). Items are called "MODE SET": what is
// done, and to which tokens of the prompt.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "experiments/cell_arrays.hpp"

namespace factflow {

const CellNames& mean_knockout_names();

// What the means are of.
struct MeanReferences {
  // Ids; empty where no item needs means, and where they are of a text.
  std::vector<std::int64_t> prompts = {};
  std::int64_t tokens = 0;     // of all of them; 0 = not known yet
  std::int64_t documents = 0;  // of a text; 0 = they are of prompts
};
ArrayGroup arrays_of(const CellAxes& axes, const MeanReferences& references);

// "mean-a", "subject" of "mean-a subject".
std::pair<std::string, std::string> mode_and_set(const std::string& item);

bool has_mean_knockouts(const ResultsReader& reader, const std::string& model);
// Throws InputError for what the function above did not make.
MeanReferences read_mean_references(const ResultsReader& reader, const std::string& model);

}  // namespace factflow
