#include "pipeline/coordination/progress.hpp"

#include <algorithm>

namespace factflow {
namespace {

constexpr std::chrono::seconds kStretch{30};
// Of what is left, so much must be of kinds whose time is known before a time is told.
constexpr double kKnownShare = 0.5;

}  // namespace

void ProgressMeter::add_total(const Task& task) {
  ++progress_.units_total;
  progress_.cost_total += task.cost;
  kinds_[task.kind].total += task.cost;
}

void ProgressMeter::drop_total(const Task& task) {
  --progress_.units_total;
  progress_.cost_total -= task.cost;
  kinds_[task.kind].total -= task.cost;
}

void ProgressMeter::add_done(const Task& task, bool failed, bool earlier) {
  ++(failed ? progress_.units_failed : progress_.units_done);
  progress_.cost_done += task.cost;
  kinds_[task.kind].done += task.cost;
  if (!earlier) ++units_now_;
}

void ProgressMeter::add_time(const Task& task, double seconds) {
  Kind& kind = kinds_[task.kind];
  kind.timed += task.cost;
  kind.seconds += seconds;
}

// Each kind at its own pace, one that is not known at that of all others.
std::optional<double> ProgressMeter::seconds_left(const std::map<std::uint32_t, Kind>& kinds,
                                                  int workers) const {
  double left = 0, left_known = 0, timed = 0, seconds = 0, sum = 0;
  for (const auto& [number, kind] : kinds) {
    timed += kind.timed;
    seconds += kind.seconds;
  }
  for (const auto& [number, kind] : kinds) {
    const double cost = std::max(kind.total - kind.done, 0.0);
    left += cost;
    if (kind.timed > 0) left_known += cost;
    if (timed > 0) sum += cost * (kind.timed > 0 ? kind.seconds / kind.timed : seconds / timed);
  }
  if (left <= 0) return 0;
  if (left_known < kKnownShare * left) return std::nullopt;
  return sum / std::max(workers, 1);
}

Progress ProgressMeter::snapshot(Clock::time_point now, std::uint64_t in_flight, int workers) {
  samples_.push_back({now, units_now_});
  while (samples_.size() > 2 && now - samples_[1].time >= kStretch) samples_.pop_front();
  const Sample& first = samples_.front();
  const double seconds = std::chrono::duration<double>(now - first.time).count();
  Progress progress = progress_;
  progress.units_in_flight = in_flight;
  progress.units_per_second =
      seconds > 0 ? static_cast<double>(units_now_ - first.units) / seconds : 0;
  std::map<std::uint32_t, Kind> kinds = kinds_;
  for (const ExpectedWork& work : expected_) {
    progress.units_total += work.units;
    progress.cost_total += work.cost;
    kinds[work.kind].total += work.cost;
  }
  if (progress.cost_total > 0)
    share_ = std::clamp(progress.cost_done / progress.cost_total, share_, 1.0);
  progress.share = share_;
  progress.seconds_left = seconds_left(kinds, workers);
  return progress;
}

}  // namespace factflow
