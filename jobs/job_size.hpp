// Fills in what a profile leaves to the plan.
#pragma once

#include <cstdint>

#include "jobs/batch_script.hpp"
#include "jobs/profile.hpp"

namespace factflow {

// What the plan says of a run.
struct JobSize {
  std::int64_t units = 0;
  std::int64_t memory_per_rank = 0;  // bytes on the host
  // On one device of the profile's kind (SlurmProfile::rates); 0 = unknown.
  double seconds = 0;
};

// No more ranks, GPUs or array jobs than there are units; memory and time where the profile says
// `plan`: memory with a quarter to spare, and twice the time with ten minutes for loading (at least
// the profile's signal_lead and ten minutes), in steps of five minutes (what is left is done by
// follow-ups). Throws InputError for `time: plan` if the time is unknown.
void fill_in(SlurmProfile& profile, BatchRun& run, const JobSize& size);

}  // namespace factflow
