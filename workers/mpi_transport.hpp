// The processes of one launch (mpirun, srun --mpi=pmix, or just one) and messages between them.
//
// Threads: on every rank at most one thread is inside MPI at any moment (MPI_THREAD_SERIALIZED).
// First that is the thread that owns the Launch (start, broadcast, vote); then, while a transport
// is in use, the one thread that calls its receive(); then the owner again (finish). Nothing spins:
// waits are polls that back off to a millisecond, because ranks share cores with compute.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "workers/transport.hpp"

namespace factflow {

std::string mpi_version();  // "Open MPI v4.1.4"

class Launch {
 public:
  struct Options {
    // How long the ranks wait for rank 0 before they end the run: it reads the inputs at the start
    // and writes the results at the end, over a slow file system perhaps.
    std::chrono::milliseconds patience{30 * 60 * 1000};
    // How long rank 0 waits for the others, who have little to do outside of a transport's
    // conversation.
    std::chrono::milliseconds patience_of_rank_zero{5 * 60 * 1000};
  };

  // Joins the launch that the environment shows. Without a launcher MPI is not touched: one rank,
  // nothing to go wrong. Throws RunError if MPI cannot be used as needed, InputError if the tasks
  // of an srun do not see each other.
  explicit Launch(const Options& options);
  Launch() : Launch(Options{}) {}
  // A rank that leaves without finish() takes the others with it (exit code 1), so that none waits
  // for it.
  ~Launch();
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;

  int rank() const;
  int size() const;
  int local_rank() const;  // among the ranks of this node, from 0
  int ranks_on_node() const;
  const std::string& host() const;

  // Every rank must call these four in the same order.
  // The bytes that rank 0 passed, on every rank.
  std::string broadcast(std::string bytes);
  // The bytes that every rank passed, by rank, on every rank.
  std::vector<std::string> gather(const std::string& bytes);
  // Runs `step` on every rank. If it throws anywhere, every rank throws the same Error: the message
  // of the lowest of the ranks with the largest exit code, with its rank and host before it if
  // there are several ranks.
  void together(const std::function<void()>& step);
  // The end of a run that every rank reached: returns the largest exit code of all ranks and closes
  // MPI.
  int finish(int exit_code);

  // Ends all ranks at once with this exit code; from any thread. For runs that lost a rank.
  [[noreturn]] void abort(int exit_code);

  // Rank 0 only: the coordinator's end for workers 0 .. size() - 1, of which 0 is this process.
  // Lives as long as the Launch.
  CoordinatorTransport& coordinator_transport();
  // The end of the worker with this rank's number. On rank 0 it consists of queues and may be used
  // beside the coordinator's.
  WorkerTransport& worker_transport();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace factflow
