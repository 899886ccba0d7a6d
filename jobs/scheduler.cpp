#include "jobs/scheduler.hpp"

#include <utility>

namespace factflow {

ChildProgram scheduler_command(std::vector<std::string> words, std::chrono::milliseconds patience) {
  return {.words = std::move(words),
          .environment = clean_environment({"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT"}),
          .patience = patience};
}

}  // namespace factflow
