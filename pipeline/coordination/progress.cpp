#include "pipeline/coordination/progress.hpp"

#include <algorithm>

namespace factflow {
namespace {
constexpr std::chrono::seconds kStretch{30};
}

void ProgressMeter::add_total(double cost) {
  ++progress_.units_total;
  progress_.cost_total += cost;
}

void ProgressMeter::drop_total(double cost) {
  --progress_.units_total;
  progress_.cost_total -= cost;
}

void ProgressMeter::add_done(double cost, bool failed, bool earlier) {
  ++(failed ? progress_.units_failed : progress_.units_done);
  progress_.cost_done += cost;
  if (earlier) return;
  ++units_now_;
  cost_now_ += cost;
}

Progress ProgressMeter::snapshot(Clock::time_point now, std::uint64_t in_flight) {
  samples_.push_back({now, units_now_, cost_now_});
  while (samples_.size() > 2 && now - samples_[1].time >= kStretch) samples_.pop_front();
  const Sample& first = samples_.front();
  const double seconds = std::chrono::duration<double>(now - first.time).count();
  progress_.units_in_flight = in_flight;
  progress_.units_per_second =
      seconds > 0 ? static_cast<double>(units_now_ - first.units) / seconds : 0;
  const double cost_left = std::max(progress_.cost_total - progress_.cost_done, 0.0);
  const double pace = seconds > 0 ? (cost_now_ - first.cost) / seconds : 0;
  progress_.seconds_left.reset();
  if (cost_left <= 0)
    progress_.seconds_left = 0;
  else if (pace > 0)
    progress_.seconds_left = cost_left / pace;
  return progress_;
}

}  // namespace factflow
