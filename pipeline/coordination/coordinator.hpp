// Hands tasks to workers, writes down what comes back, and tells the source what is done. See
// docs/distribution.md.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "pipeline/coordination/journal.hpp"
#include "pipeline/coordination/progress.hpp"
#include "pipeline/coordination/task.hpp"
#include "pipeline/coordination/task_queue.hpp"
#include "workers/protocol.hpp"
#include "workers/transport.hpp"

namespace factflow {

class UnitClaims;

struct CoordinatorOptions {
  std::chrono::milliseconds heartbeat_timeout{60'000};  // a silent worker is lost after this
  std::chrono::milliseconds heartbeat_interval{2'000};  // of the coordinator's own sign of life
  // Results are committed together: at the latest after this time or this many bytes, at once if a
  // worker has no work.
  std::chrono::milliseconds commit_interval{50};
  std::size_t commit_bytes = std::size_t{8} << 20;
  std::chrono::milliseconds progress_interval{1'000};
  // For the tasks in work after the first stop request.
  std::chrono::milliseconds grace{30'000};
  // For workers to leave when everything ends at once.
  std::chrono::milliseconds cancel_patience{2'000};
  // Failures on record from earlier launches, also of single prompts, are tried again.
  bool retry_failed = false;

  // Counts stop requests (SIGINT, SIGTERM): 1 = finish what is in work, 2 = end at once. May be
  // null.
  const std::atomic<int>* stop = nullptr;
  std::function<void(const Progress&)>
      on_progress;  // on the coordinator's thread, at most every progress_interval
  // One line: a retry, a split, a failure, a stop.
  std::function<void(const std::string&)> on_event;
  // One line for each unit that a worker has computed.
  std::function<void(const std::string&)> on_unit;
  std::function<void()> before_commit;  // may throw, to end the run (a lost run lock)

  // Array jobs: units are shared with other processes through these claims. Null: all units are
  // ours.
  UnitClaims* claims = nullptr;
  // The name of our own journal file; needed with claims.
  std::string writer;
  // Between looks at what other processes have done.
  std::chrono::milliseconds claims_interval{1'000};
};

enum class RunEnd { kComplete, kStopped };

struct Outcome {
  RunEnd end = RunEnd::kComplete;
  std::uint64_t units_done = 0;     // with a result, in this and earlier launches
  std::uint64_t units_failed = 0;   // recorded as failed
  std::uint64_t units_resumed = 0;  // of both, found in the journal at start
};

// Runs on one thread, beside the workers. One run() per object.
class Coordinator {
 public:
  // All references must outlive the coordinator. `index` and `journal` belong to the same
  // directory.
  Coordinator(CoordinatorTransport& transport, TaskSource& source, JournalIndex& index,
              Journal& journal, const CoordinatorOptions& options);

  // Until all units are done or failed, or a stop was requested. Throws RunError for a lost worker,
  // a fatal failure, or a journal that cannot be written; what was committed before is kept in
  // every case.
  Outcome run();

  // For callbacks that take long: the workers hear that the coordinator lives. On its own thread.
  void sign_of_life() { send_heartbeats(); }

  // After run() has returned or thrown: whether every worker has said goodbye. If not, some process
  // may still compute or hang, and the caller must end it (Launch::abort).
  bool all_workers_left() const;

 private:
  using Clock = std::chrono::steady_clock;

  struct Worker {
    std::string name;  // "worker 3"; "worker 3 (node17, process 4711)" once it has said hello
    Clock::time_point heard;
    std::deque<Attempt> in_hand;         // the first is in work
    Clock::time_point began;             // the first, as far as anybody but the worker knows
    std::optional<std::uint32_t> model;  // the affinity of the last one answered
    bool ready = false;                  // has said hello
    bool gone = false;                   // has said goodbye
    bool lost = false;                   // does not answer any more
  };
  // Something written to the journal that the source hears of once it is durable.
  struct Settled {
    RecordType type = RecordType::kResult;
    Task task;
    std::string payload;      // the result or the reason
    std::vector<Task> parts;  // of a split
  };

  // The plan: what is released is either known from the journal or goes into the queue.
  void add(std::vector<Task> tasks);
  bool on_record(const Task& task) const;
  std::string in_work(const Worker& worker) const;
  std::vector<Task> tell_source(Settled settled, bool earlier);
  Settled read_record(const Task& task) const;

  // Messages.
  void loop();
  bool finished() const;
  void receive_messages(std::chrono::milliseconds timeout);
  void handle(Message message);
  Attempt take_from_hand(Worker& worker, std::uint64_t unit);
  void note_time(Worker& worker, const Task& task);
  Progress progress(Clock::time_point now);
  void handle_failure(Worker& worker, const Message& message);
  void handle_goodbye(Worker& worker);

  // The journal.
  void settle(Settled settled);
  bool commit_due() const;
  void commit();

  // Handing out.
  void hand_out();
  void hand_one_to(int number);
  bool claim(const Attempt& attempt);
  void look_at_others();
  bool idle_worker() const;

  // Time passing, and the end.
  std::chrono::milliseconds time_to_wait() const;
  void send_heartbeats();
  void check_workers();
  void report_progress(bool always);
  int stop_requests() const;
  void stop();
  void end_workers(MessageKind kind, std::chrono::milliseconds patience);
  void end_in_error();
  void tell_to_leave(MessageKind kind);
  bool waiting_for_workers() const;
  void event(const std::string& line) const;

  CoordinatorTransport& transport_;
  TaskSource& source_;
  JournalIndex& index_;
  Journal& journal_;
  const CoordinatorOptions options_;

  TaskQueue queue_;
  std::vector<Worker> workers_;
  std::unordered_set<std::uint64_t> known_;               // every unit ever released
  std::unordered_map<std::uint64_t, Attempt> elsewhere_;  // claimed by other processes
  // Appended to the journal, not yet committed.
  std::vector<Settled> settled_;
  std::size_t in_flight_ = 0;
  bool ending_ = false;  // workers have been told to leave
  bool drained_ = true;  // no message was left waiting
  ProgressMeter meter_;
  Outcome outcome_;
  Clock::time_point last_turn_, last_heartbeat_, first_pending_, last_look_, last_report_;
};

}  // namespace factflow
