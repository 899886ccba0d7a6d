// Which runs may be drawn together, and what differs between those that are.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "analysis/run_data.hpp"
#include "results/results_file.hpp"

namespace factflow {

// Throws InputError where the numbers of two runs mean different things: windows that are placed
// differently, other tokens as answers. `files` name the readers' files.
void check_comparable(const std::vector<std::filesystem::path>& files,
                      const std::vector<ResultsReader>& readers);

// What else may make the numbers of several runs differ (precision, dataset, rule of selection),
// and checkpoints that have several names, in sentences.
std::vector<std::string> differences_between_runs(const RunData& run);

}  // namespace factflow
