// Shows how far a run is: one line that is redrawn on a terminal, a plain line now and then in a
// log.
#pragma once

#include <chrono>
#include <mutex>
#include <string>

#include "pipeline/coordination/progress.hpp"

namespace factflow {

// Any thread: the coordinator shows progress while another thread may have a last word.
class ProgressDisplay {
 public:
  ProgressDisplay();
  void show(const Progress& progress);
  // A line that stays: an event, the end.
  void line(const std::string& text);

 private:
  using Clock = std::chrono::steady_clock;
  std::mutex mutex_;
  bool terminal_;
  bool drawn_ = false;
  Clock::time_point last_{};
};

// "14 of 20 units, 2 failed, 3.1 units/s, 2 s left"
std::string describe(const Progress& progress);

}  // namespace factflow
