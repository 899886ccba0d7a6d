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

// From squeue for jobs in the queue, else from sacct. Jobs that neither knows (any more) are left
// out; so are all if SLURM does not answer.
std::vector<JobState> job_states(const std::vector<std::string>& ids);

// Whether SLURM still has one of these jobs to run, or runs it now. False if it does not answer.
bool in_queue(const std::vector<std::string>& ids);

}  // namespace factflow
