#include "jobs/job_size.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "jobs/quantities.hpp"

namespace factflow {
namespace {

constexpr double kSpareMemory = 1.25, kSpareTime = 2;
constexpr double kLoading = 600;  // seconds
constexpr double kStep = 300;     // seconds

void limit_ranks(SlurmProfile& profile, std::int64_t units) {
  const std::int64_t needed = (units + profile.ranks_per_node - 1) / profile.ranks_per_node;
  profile.nodes = std::min(profile.nodes, needed);
  if (profile.nodes > 1 || units >= profile.ranks_per_node) return;
  profile.gpus_per_node = std::min(profile.gpus_per_node, units);
  profile.ranks_per_node = units;
}

// Long enough for some work before the signal, too.
std::string time_limit(double seconds, const SlurmProfile& profile) {
  const double least = static_cast<double>(profile.signal_lead) + kLoading;
  return show_time_limit(
      static_cast<std::int64_t>(std::ceil(std::max(seconds, least) / kStep) * kStep));
}

}  // namespace

void fill_in(SlurmProfile& profile, BatchRun& run, const JobSize& size) {
  const std::int64_t units = std::max<std::int64_t>(size.units, 1);
  if (run.array > 0)
    run.array = static_cast<int>(std::min<std::int64_t>(run.array, units));
  else
    limit_ranks(profile, units);
  if (profile.memory == kFromPlan) {
    const std::int64_t ranks = run.array > 0 ? 1 : profile.ranks_per_node;
    const double bytes = kSpareMemory * static_cast<double>(ranks * size.memory_per_rank);
    profile.memory = fmt::format(
        "{}G", std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(bytes / (1 << 30)))));
  }
  if (profile.time != kFromPlan) return;
  if (size.seconds <= 0)
    throw InputError(
        "profile",
        fmt::format("key time: the plan knows no rates of {} for every model of this run",
                    profile.rates.empty() ? "a device (key rates)" : in_quotes(profile.rates)),
        "say how long a job may take, or name a device that `factflow plan` lists");
  const std::int64_t ranks = run.array > 0 ? run.array : profile.nodes * profile.ranks_per_node;
  profile.time =
      time_limit(kSpareTime * size.seconds / static_cast<double>(ranks) + kLoading, profile);
}

}  // namespace factflow
