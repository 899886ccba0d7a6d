// A run handed to SLURM: the first job, follow-ups that continue it, and the analysis behind them.
//
//   DIR/submit.yaml     the configuration as it was submitted, defaults written out, paths absolute
//   DIR/submit.sbatch   the script of the run and its follow-ups; DIR/analyse.sbatch that of the
//   analysis DIR/submit.json     which jobs they became DIR/logs/           what the jobs say
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "jobs/batch_script.hpp"
#include "jobs/profile.hpp"

namespace factflow {

struct Submission {
  std::vector<std::string> runs;  // job numbers: the first and its follow-ups
  std::string analysis;
  std::vector<std::string> all() const;
};

// Writes the files named above but submit.json. Throws RunError if the disk refuses.
void write_scripts(const SlurmProfile& profile, const BatchRun& run, const std::string& config);

// The sbatch command of the run (`earlier` empty), of its next follow-up, or of the analysis. A
// follow-up starts only if all jobs before it failed, the analysis if one of them succeeded.
std::vector<std::string> run_command_line(const BatchRun& run,
                                          const std::vector<std::string>& earlier);
std::vector<std::string> analysis_command_line(const BatchRun& run,
                                               const std::vector<std::string>& runs);

// Hands everything in and writes submit.json after every job. Throws InputError if jobs of an
// earlier submission are still in the queue or there is no sbatch, RunError if sbatch refuses.
Submission submit(const SlurmProfile& profile, const BatchRun& run);

// The last submission of a run directory; nothing if there was none. Throws InputError for a
// submit.json that is not one.
std::optional<Submission> read_submission(const std::filesystem::path& directory);

}  // namespace factflow
