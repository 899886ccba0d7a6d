// Everything that can be known to be wrong with a configuration before anything is computed: what
// run, validate, plan and submit check, and refuse, alike.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "pipeline/input/config.hpp"
#include "pipeline/input/dataset.hpp"
#include "pipeline/run/job_builder.hpp"

namespace factflow {

struct CheckedRun {
  Config config;
  Dataset dataset;
  PlannedJob planned;
};

// Reads the configuration, its lists, dataset, checkpoints (names and shapes of tensors) and
// tokenizers. Throws InputError (or Error with the exit code of bad input, for a list of missing
// models). What depends on the machine is left to machine_problem().
CheckedRun check_run(const std::filesystem::path& config, const ConfigOverrides& overrides,
                     Completeness completeness = Completeness::kWhole);

// What is allowed and hardly meant, as sentences for people: shortfalls() and values that look like
// slips.
std::vector<std::string> remarks_on(const Config& config, const Dataset& dataset);

// Why this machine cannot compute what the configuration asks for (no such device, or a precision
// that it lacks), in one line; "" if it can. Another one may.
std::string machine_problem(const RunConfig& run);

}  // namespace factflow
