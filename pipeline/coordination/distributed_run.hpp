// One run on all ranks of a launch: the coordinator in a thread on rank 0, a worker on every rank.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "pipeline/coordination/coordinator.hpp"
#include "workers/mpi_transport.hpp"
#include "workers/work_loop.hpp"

namespace factflow {

struct DistributedRun {
  // Rank 0 only; called on the coordinator's thread. What the coordinator refers to must outlive
  // the call of run_on_ranks.
  std::function<std::unique_ptr<Coordinator>(CoordinatorTransport&)> make_coordinator;
  // Every rank; called on the thread that calls run_on_ranks.
  ComputeFunction compute;
  WorkLoopOptions work;  // on_coordinator_lost is filled in
  // Shows one line to the user before this process has to end by force. Any thread.
  std::function<void(const std::string&)> report;
  int stopped_exit_code = 1;  // if a stop has to be forced on workers that do not listen
};

// Returns on every rank when the run is over; the outcome is rank 0's, empty elsewhere. Rank 0
// throws what the coordinator threw. If a rank does not leave (lost, or deep in a computation that
// cannot be interrupted), every process is ended instead of returning, with exit code 1 or
// `stopped_exit_code`, after `report`.
std::optional<Outcome> run_on_ranks(Launch& launch, const DistributedRun& run);

}  // namespace factflow
