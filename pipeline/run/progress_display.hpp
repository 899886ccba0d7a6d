// Shows how far a run is: one line that is redrawn on a terminal, a plain line now and then in a
// log.
#pragma once

#include <chrono>
#include <mutex>
#include <string>

#include "pipeline/coordination/progress.hpp"

namespace factflow {

// What a run says. Warnings, failures and the reason why it stops are said in any case.
enum class Verbosity {
  kQuiet,    // nothing else
  kNormal,   // what it does, how far it is, what came out
  kVerbose,  // and every unit
};

// Any thread: the coordinator shows progress while another thread may have a last word.
class ProgressDisplay {
 public:
  explicit ProgressDisplay(Verbosity verbosity = Verbosity::kNormal);
  void show(const Progress& progress);
  // A line that stays: a warning, a failure, why it stops.
  void line(const std::string& text);
  // Likewise, of what goes well; of what only kVerbose tells.
  void tell(const std::string& text);
  void detail(const std::string& text);

 private:
  using Clock = std::chrono::steady_clock;
  std::mutex mutex_;
  Verbosity verbosity_;
  bool terminal_;
  bool drawn_ = false;
  Clock::time_point last_{};
};

// " 70%  14 of 20 units, 2 failed, 3.1 units/s, 2 s left"
std::string describe(const Progress& progress);
// The same and what is computed: "...; sweep of mamba, prompts 9 to 16; 4 of 4 ranks busy".
std::string describe_in_full(const Progress& progress);

}  // namespace factflow
