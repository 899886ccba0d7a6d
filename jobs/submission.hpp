// A run handed to SLURM: the first job, follow-ups that continue it, and the analysis behind them.
//
//   DIR/submit.yaml      the configuration as submitted, defaults written out, paths absolute
//   DIR/submit.sbatch    the script of the run and its follow-ups
//   DIR/analyse.sbatch   that of the analysis
//   DIR/submit.json      which jobs they became
//   DIR/logs/            what the jobs say
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/file_operations.hpp"
#include "jobs/batch_script.hpp"
#include "jobs/job_queue.hpp"
#include "jobs/profile.hpp"

namespace factflow {

struct Submission {
  std::vector<std::string> runs = {};  // job numbers: the first and its follow-ups
  std::string analysis = {};
  std::string cluster = {};             // that took them, where sbatch says its name
  std::vector<std::string> names = {};  // of the jobs: of the runs, and of the analysis
  // One more job was handed in, or was to be, and what became of it is not known: the record is
  // written before sbatch is asked.
  bool one_more = false;

  std::vector<std::string> all() const;
  // Those on record, and by their name those that may be there besides.
  JobsAsked asked() const;
  // The command that ends them.
  std::vector<std::string> scancel() const;
};

// For the time in which scripts are written and jobs submitted: one process at a time does so in a
// run directory, and none while jobs wait that read these files. The constructor makes DIR/logs and
// throws InputError if another process is at it or jobs of an earlier submission are in the queue,
// RunError if the queue cannot be asked about them or the disk refuses.
class SubmissionLock {
 public:
  explicit SubmissionLock(const std::filesystem::path& directory);

 private:
  OpenFile file_;
};

// Writes the files named above but submit.json. Throws RunError if the disk refuses.
void write_scripts(const SlurmProfile& profile, const BatchRun& run, const std::string& config);

// The sbatch command of the run (nothing is submitted yet), of its next follow-up, or of the
// analysis. A follow-up starts only if all jobs before it failed, the analysis if one of them
// succeeded.
std::vector<std::string> run_command_line(const BatchRun& run, const Submission& so_far);
std::vector<std::string> analysis_command_line(const BatchRun& run, const Submission& so_far);

// Hands everything in, with submit.json up to date before and after every job. Needs a
// SubmissionLock. Throws InputError if there is no sbatch, RunError if it refuses a job, if its
// answer is not understood, or if the disk refuses; what was submitted by then is named and on
// record, and nothing more is submitted.
Submission submit(const SlurmProfile& profile, const BatchRun& run);

// The last submission of a run directory; nothing if there was none. Throws InputError for a
// submit.json that is not one.
std::optional<Submission> read_submission(const std::filesystem::path& directory);

}  // namespace factflow
