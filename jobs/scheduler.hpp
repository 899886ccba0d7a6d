// How SLURM's own commands are asked.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/child_process.hpp"

namespace factflow {

// One of SLURM's commands, in a clean environment: of SLURM's variables it sees those that say
// which cluster answers and who asks (SLURM_CONF, SLURM_CONF_SERVER, SLURM_JWT), and none that
// stands for an option (SBATCH_TIMELIMIT, SQUEUE_FORMAT, ...).
ChildProgram scheduler_command(std::vector<std::string> words, std::chrono::milliseconds patience);

}  // namespace factflow
