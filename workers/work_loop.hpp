// The life of one worker: fetch tasks, compute them, answer, until the coordinator says that it is
// over.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>

#include "workers/protocol.hpp"
#include "workers/transport.hpp"

namespace factflow {

// Thrown by a compute function to say what went wrong with its unit. Any other exception counts as
// FailureKind::kError, std::bad_alloc as kOutOfMemory.
class UnitFailure : public std::runtime_error {
 public:
  UnitFailure(FailureKind kind, const std::string& reason)
      : std::runtime_error(reason), kind_(kind) {}
  FailureKind kind() const { return kind_; }

 private:
  FailureKind kind_;
};

// Thrown by a compute function that saw `cancelled`: the unit is given up without a result.
struct UnitCancelled {};

struct WorkLoopOptions {
  std::chrono::milliseconds heartbeat_interval{2'000};
  // Without a sign of life of the coordinator for this long the worker gives up.
  std::chrono::milliseconds coordinator_timeout{60'000};
  // Called (on the communication thread) when the coordinator is lost. Compute may be deep in a
  // long kernel then, so a process of its own ends itself here (Launch::abort). Afterwards
  // `cancelled` is set and work() throws RunError.
  std::function<void(const std::string& reason)> on_coordinator_lost;
  // Called before a task is computed, with the one that comes after it if that is already here, so
  // that it can be prepared meanwhile. Must not throw.
  std::function<void(std::uint64_t unit, std::string payload)> foresee;
};

// What a worker does with one task: payload in, result out. Called on the thread that called
// work(). `cancelled` may become true at any moment; the function may then throw UnitCancelled.
using ComputeFunction = std::function<std::string(std::uint64_t unit, const std::string& payload,
                                                  const std::atomic<bool>& cancelled)>;

// Runs until the coordinator ends it. A second thread receives, fetches tasks ahead and sends
// heartbeats, so none of that waits for `compute`. Returns the number of units answered. Throws
// RunError if the coordinator is lost.
std::uint64_t work(WorkerTransport& transport, const ComputeFunction& compute,
                   const WorkLoopOptions& options = {});

}  // namespace factflow
