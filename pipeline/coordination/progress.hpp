// How far a run is and how long it will take.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>

namespace factflow {

struct Progress {
  std::uint64_t units_done = 0, units_failed = 0;
  std::uint64_t units_total = 0;         // as far as released; later stages add to it
  double cost_done = 0, cost_total = 0;  // failed units count as done
  double units_per_second = 0;           // over the last half minute or so
  // For what is released, at this pace; empty as long as there is no pace.
  std::optional<double> seconds_left;
  std::uint64_t units_in_flight = 0;
};

// Counts, and measures the pace over a sliding stretch of time. Units found done at start count,
// but not for the pace.
class ProgressMeter {
 public:
  using Clock = std::chrono::steady_clock;

  void add_total(double cost);
  void drop_total(double cost);  // a unit was replaced by its parts
  void add_done(double cost, bool failed, bool earlier);
  // Meant to be called about once a second.
  Progress snapshot(Clock::time_point now, std::uint64_t in_flight);

 private:
  struct Sample {
    Clock::time_point time;
    std::uint64_t units = 0;
    double cost = 0;
  };
  Progress progress_;
  std::uint64_t units_now_ = 0;  // done in this launch
  double cost_now_ = 0;
  std::deque<Sample> samples_;
};

}  // namespace factflow
