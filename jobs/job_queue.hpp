// What SLURM says about jobs.
#pragma once

#include <string>
#include <vector>

namespace factflow {

struct JobState {
  std::string id;      // "4711", or "4711_2" for the second of an array
  std::string state;   // "RUNNING", "PENDING", "COMPLETED", ...
  std::string detail;  // reason or time; may be empty
};

// Which jobs are meant.
struct JobsAsked {
  std::vector<std::string> ids;
  std::vector<std::string> names = {};  // further jobs, of these names
  std::string cluster = {};             // that has them; empty = the one that answers here
};

struct JobStates {
  std::vector<JobState> jobs;
  // Why it is not known whether there are others: "squeue gave no answer within 20.0 s". Empty =
  // the queue holds these and no others.
  std::string problem;
};

// Jobs that wait, run, or are about to end, as squeue says. They are never empty without a
// `problem` unless squeue answered, and all of its answer was understood.
JobStates queued_jobs(const JobsAsked& asked);

// The same, then those that have ended, as far as sacct knows them, in the order of the ids.
JobStates job_states(const JobsAsked& asked);

}  // namespace factflow
