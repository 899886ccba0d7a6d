// How far a run is and how long it will take.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/coordination/task.hpp"

namespace factflow {

struct Progress {
  std::uint64_t units_done = 0, units_failed = 0;
  // Released ones and those that are known to come (TaskSource::expected), which may become fewer.
  std::uint64_t units_total = 0;
  double cost_done = 0, cost_total = 0;  // likewise; failed units count as done
  // cost_done / cost_total, and never less than before.
  double share = 0;
  double units_per_second = 0;  // over the last half minute or so
  // Until everything is done. Empty as long as most of what is left is of kinds of work of which
  // nobody has seen how long they take.
  std::optional<double> seconds_left;
  std::uint64_t units_in_flight = 0;
  // How many workers there are and compute, and what the first of these does; "" if none does.
  int workers = 0, busy = 0;
  std::string working_on;
};

// Counts, and measures what work takes. Units found done at start count, but tell nothing about
// time.
class ProgressMeter {
 public:
  using Clock = std::chrono::steady_clock;

  void add_total(const Task& task);
  void drop_total(const Task& task);  // a unit was replaced by its parts
  void add_done(const Task& task, bool failed, bool earlier);
  // What is known to come besides what was added; replaces what was said before.
  void expect(std::vector<ExpectedWork> work) { expected_ = std::move(work); }
  // A worker has computed the task in so many seconds, without loading a model for it.
  void add_time(const Task& task, double seconds);
  // Meant to be called about once a second. `workers`: how many compute.
  Progress snapshot(Clock::time_point now, std::uint64_t in_flight, int workers = 1);

 private:
  struct Sample {
    Clock::time_point time;
    std::uint64_t units = 0;
  };
  // All work of one kind.
  struct Kind {
    double total = 0, done = 0;     // cost
    double timed = 0, seconds = 0;  // cost of the tasks whose time is known, and their time
  };
  std::optional<double> seconds_left(const std::map<std::uint32_t, Kind>& kinds, int workers) const;

  Progress progress_;  // without what is expected
  std::map<std::uint32_t, Kind> kinds_;
  std::vector<ExpectedWork> expected_;
  double share_ = 0;
  std::uint64_t units_now_ = 0;  // done in this launch
  std::deque<Sample> samples_;
};

}  // namespace factflow
