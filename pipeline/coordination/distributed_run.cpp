#include "pipeline/coordination/distributed_run.hpp"

#include <exception>
#include <optional>
#include <thread>

#include "base/error.hpp"

namespace factflow {
namespace {

// The coordinator's whole life, on a thread of its own.
class CoordinatorThread {
 public:
  CoordinatorThread(Launch& launch, const DistributedRun& run)
      : launch_(launch), run_(run), thread_([this] { coordinate(); }) {}
  ~CoordinatorThread() {
    if (thread_.joinable()) thread_.join();
  }
  CoordinatorThread(const CoordinatorThread&) = delete;
  CoordinatorThread& operator=(const CoordinatorThread&) = delete;

  Outcome result() {
    thread_.join();
    if (error_) std::rethrow_exception(error_);
    return outcome_;
  }

 private:
  void coordinate() {
    std::unique_ptr<Coordinator> coordinator;
    try {
      coordinator = run_.make_coordinator(launch_.coordinator_transport());
      outcome_ = coordinator->run();
    } catch (...) {
      error_ = std::current_exception();
    }
    if (!coordinator || !coordinator->all_workers_left()) end_by_force();
  }

  // Nobody may wait for a rank that does not answer.
  [[noreturn]] void end_by_force() {
    int code = run_.stopped_exit_code;
    try {
      if (error_) std::rethrow_exception(error_);
      if (outcome_.end == RunEnd::kComplete) code = 1;
      run_.report(
          outcome_.end == RunEnd::kComplete
              ? "all units are done, but a rank did not leave; the same command finishes the run"
              : "stopped although some units were still in work; the same command continues");
    } catch (const Error& error) {
      run_.report(error.what());
      code = error.exit_code();
    } catch (const std::exception& error) {
      run_.report(error.what());
      code = 1;
    }
    launch_.abort(code);
  }

  Launch& launch_;
  const DistributedRun& run_;
  Outcome outcome_;
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace

std::optional<Outcome> run_on_ranks(Launch& launch, const DistributedRun& run) {
  std::optional<CoordinatorThread> coordinator;
  if (launch.rank() == 0) coordinator.emplace(launch, run);
  WorkLoopOptions options = run.work;
  options.on_coordinator_lost = [&](const std::string& reason) {
    run.report(reason);
    launch.abort(1);
  };
  work(launch.worker_transport(), run.compute, options);
  if (!coordinator) return std::nullopt;
  return coordinator->result();
}

}  // namespace factflow
