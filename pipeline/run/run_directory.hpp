// What lies in the directory of a run, and whether it belongs to this configuration.
//
//   config.yaml     the resolved configuration
//   run.json        identity, creation time, version of the plan
//   journal/        the durable results (pipeline/coordination/journal.hpp)
//   results.h5      a view of the journal (docs/results.md); tables/, figures/ and report.html are
//   made from it progress.json   how far the last launch came, for `factflow status` run.lock held
//   while a launch runs; claims/ in its place for launches that share the directory submit.*, logs/
//   of a run that was handed to SLURM (jobs/submission.hpp)
#pragma once

#include <filesystem>
#include <string>

#include "pipeline/input/config.hpp"
#include "pipeline/input/dataset.hpp"

namespace factflow {

// Units of another plan have other contents under the same names: a change to the sizes or names of
// run_plan.cpp or unit_sizes.cpp must change this.
inline constexpr const char* kPlanVersion = "plan 6";

struct RunDirectory {
  std::filesystem::path path;
  std::string identity;  // digest of configuration, and content of dataset and lists of ids
  std::string created;   // UTC, ISO 8601
  std::filesystem::path journal() const { return path / "journal"; }
  std::filesystem::path results() const { return path / "results.h5"; }
};

// Makes or continues the directory; the caller holds its lock. `fresh` removes what an earlier run
// left there. Throws RunError if it belongs to another configuration, dataset or version, and says
// in which line they differ.
RunDirectory open_run_directory(const std::filesystem::path& path, const Config& config,
                                const Dataset& dataset, bool fresh);

// The same check for a directory that nobody holds yet; changes nothing.
void check_run_directory(const std::filesystem::path& path, const Config& config,
                         const Dataset& dataset);

}  // namespace factflow
