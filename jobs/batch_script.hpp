// The scripts that sbatch gets, as pure functions of profile and run.
#pragma once

#include <filesystem>
#include <string>

#include "base/child_process.hpp"
#include "jobs/profile.hpp"

namespace factflow {

// All paths absolute.
struct BatchRun {
  std::string name;                 // of the configuration
  std::filesystem::path config;     // as it was when the run was submitted
  std::filesystem::path directory;  // of the run
  std::filesystem::path start;      // where relative paths in the configuration begin
  std::filesystem::path program;    // factflow, unless the profile names one
  // Tells the jobs of one submission from those of all others; letters and digits, may be empty.
  std::string mark = {};
  // What the job's environment holds besides what the cluster and the profile put there.
  Environment variables = {};
  bool retry_failed = false;  // as of `factflow run`
  // So many independent jobs in place of one launch of many ranks; 0 = none.
  int array = 0;
};

// "factflow-NAME-MARK", and with "-analysis" behind it.
std::string run_job_name(const BatchRun& run);
std::string analysis_job_name(const BatchRun& run);

// Throws InputError for a path that cannot stand in a script (control characters, quotes,
// backslashes).
std::string run_script(const SlurmProfile& profile, const BatchRun& run);
std::string analysis_script(const SlurmProfile& profile, const BatchRun& run);

}  // namespace factflow
