// What a cluster wants to hear: one YAML file per kind of job, kept apart from what is computed.
// docs/slurm.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace factflow {

// In place of a size or a time: what the plan says of the run.
inline constexpr const char* kFromPlan = "plan";

enum class Launcher { kMpirun, kSrun };

// The job that makes tables, figures and the report; no GPU. Empty = as in the profile.
struct AnalysisJob {
  std::string partition = {};
  std::string time = "01:00:00";
  std::string memory = {};
  std::int64_t cpus = 1;
  bool operator==(const AnalysisJob&) const = default;
};

// Texts are those of sbatch's options of the same name; empty or 0 = not said, so the cluster
// decides.
struct SlurmProfile {
  std::string partition = {}, account = {}, qos = {}, constraint = {};
  // Per job, as parse_time_limit gives it (quantities.hpp), or kFromPlan.
  std::string time = {};
  std::string rates = {};  // for the latter: a device of the rate table
  std::int64_t nodes = 1;
  std::int64_t ranks_per_node = 1;  // one per GPU
  std::int64_t cpus_per_rank = 0;
  std::int64_t gpus_per_node = 0;
  std::string gpu_type = {};              // "h100"
  std::string memory = kFromPlan;         // per node, as parse_memory gives it, or kFromPlan
  std::vector<std::string> modules = {};  // module load
  std::string container = {};             // image for `apptainer exec`
  std::vector<std::string> setup = {};    // lines of shell before the launch
  std::map<std::string, std::string> environment = {};
  // Variables of the submitting shell that the job has too: where programs and libraries are. It
  // has no others.
  std::vector<std::string> inherit = {"PATH", "LD_LIBRARY_PATH"};
  Launcher launcher = Launcher::kMpirun;
  std::string program = {};  // the factflow to start; empty = the one that submits
  // Seconds before the limit at which the run is told to stop; less than the limit.
  std::int64_t signal_lead = 300;
  std::int64_t follow_ups = 2;            // further jobs that continue an unfinished run
  bool requeue = true;                    // after preemption or a failed node
  std::vector<std::string> options = {};  // further options of sbatch: "--reservation=lab"
  AnalysisJob analysis;
  bool operator==(const SlurmProfile&) const = default;
};

// Throws InputError "FILE:LINE: key a.b: ..." for anything that is not a profile, an unknown key
// with the nearest known one.
SlurmProfile read_profile(const std::filesystem::path& file);
SlurmProfile parse_profile(const std::string& yaml, const std::filesystem::path& file);

// What is allowed and hardly meant, in one line; "" = nothing.
std::string doubt_about(const SlurmProfile& profile);

// All keys with type, default and meaning, for `factflow submit --help`.
std::string profile_help();

}  // namespace factflow
