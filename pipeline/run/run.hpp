// The main path: a configuration in, results.h5 out, on however many ranks.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>

#include "pipeline/input/config.hpp"
#include "pipeline/run/progress_display.hpp"

namespace factflow {

struct RunOptions {
  std::filesystem::path config;
  std::filesystem::path out;  // empty = runs/NAME
  ConfigOverrides overrides;
  bool fresh = false;
  bool retry_failed = false;
  // Units are shared with other launches on the directory that say so too.
  bool share = false;
  std::chrono::seconds wait{0};  // for another launch on the directory to end
  // For the units in work after the first stop signal.
  std::chrono::seconds stop_within{30};
  Verbosity verbosity = Verbosity::kNormal;
};

// Called on every rank of the launch; returns the exit code. Throws Error on all ranks for what
// goes wrong before the first unit; afterwards everything finished is kept, and the same call
// continues.
int run(const RunOptions& options);

// What run() would begin with, on standard output, and nothing written: what it reads, how many
// units it would compute, what of them is there. Under a launcher one rank speaks. Throws as run()
// does before the first unit, also for what only this machine lacks.
int dry_run(const RunOptions& options);

}  // namespace factflow
