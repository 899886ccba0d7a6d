// What lies in the directory of a run, and whether it belongs to this configuration.
//
//   run.json        identity, creation time, version of the plan: the first thing to be written
//   config.yaml     the resolved configuration
//   journal/        the durable results (pipeline/coordination/journal.hpp)
//   results.h5      a view of the journal (docs/results.md); tables/, figures/, report.html and
//   analysis.files are made from it (base/output_directory.hpp) progress.json   how far the last
//   launch came, for `factflow status` run.lock held while a launch runs; claims/ in its place for
//   launches that share the directory submit.*, analyse.sbatch, logs/ of a run that was handed to
//   SLURM (jobs/submission.hpp)
//
// A run writes into a directory that it made, that is empty, or that holds such files already, and
// nowhere else. It is claimed for a configuration when the first result is on its way to the
// journal: a start that fails before that changes nothing.
#pragma once

#include <filesystem>
#include <string>

#include "pipeline/input/config.hpp"
#include "pipeline/input/dataset.hpp"

namespace factflow {

// Units of another plan have other contents under the same names: a change to the sizes or names of
// run_plan.cpp or unit_sizes.cpp must change this.
inline constexpr const char* kPlanVersion = "plan 13";

struct RunDirectory {
  std::filesystem::path path;
  std::string identity;  // digest of configuration, and content of dataset and lists of ids
  std::string created;   // UTC, ISO 8601
  // Whether it holds this run. If not, begin_run_directory() must come before anything is written.
  bool begun = false;
  std::filesystem::path journal() const { return path / "journal"; }
  std::filesystem::path results() const { return path / "results.h5"; }
};

// Throws InputError unless a run may write into the directory: it does not exist and can be made,
// is empty, or holds a run's files. Changes nothing.
void check_place(const std::filesystem::path& path);

struct StartOptions {
  bool fresh = false;  // what an earlier run left does not count, whatever it is
  // Nobody else has the directory: then a run of which nothing is on record does not count either.
  bool alone = true;
};

// Looks whether the directory continues this run; the caller holds its lock. Throws InputError as
// check_place() and for a run of another version, RunError if it belongs to another configuration
// or dataset, and says in which line they differ. Changes nothing but copies of the configuration
// that a crash left out.
RunDirectory look_at_run_directory(const std::filesystem::path& path, const Config& config,
                                   const Dataset& dataset, const StartOptions& options);

// Claims the directory for this run, and removes what an earlier one and its analyses left, these
// files alone. May be called again after it has thrown RunError.
void begin_run_directory(RunDirectory& directory, const Config& config);

// For a directory that nobody holds yet, before a run is handed on; changes nothing. Throws as
// look_at_run_directory().
RunDirectory check_run_directory(const std::filesystem::path& path, const Config& config,
                                 const Dataset& dataset, const StartOptions& options = {});

// `fresh` removes DIR/config.yaml. That is a copy, unless somebody has edited it to run it: then
// throws InputError.
void check_configuration_survives(const std::filesystem::path& config,
                                  const std::filesystem::path& path);

}  // namespace factflow
