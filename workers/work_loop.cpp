#include "workers/work_loop.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <new>
#include <optional>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "base/error.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

Message make_message(MessageKind kind, std::uint64_t unit = 0, std::string payload = "") {
  return {static_cast<std::uint32_t>(kind), 0, unit, std::move(payload)};
}

// For messages about this worker.
std::string whereabouts() {
  char host[256] = "";
  ::gethostname(host, sizeof(host) - 1);
  return fmt::format("{}, process {}", host, ::getpid());
}

// The communication thread and what it shares with the computing one.
class Mailbox {
 public:
  Mailbox(WorkerTransport& transport, const WorkLoopOptions& options)
      : transport_(transport), options_(options) {
    thread_ = std::thread([this] { communicate(); });
  }
  ~Mailbox() { leave(); }
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // The next task, or nothing when the work is over.
  std::optional<Message> next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return over_ || !tasks_.empty(); });
    if (over_) return std::nullopt;
    Message task = std::move(tasks_.front());
    tasks_.pop_front();
    return task;
  }

  // The task that next() will return, if it has come.
  std::optional<Message> coming() {
    const std::lock_guard lock(mutex_);
    if (over_ || tasks_.empty()) return std::nullopt;
    return tasks_.front();
  }

  void answer(Message message) { transport_.send(std::move(message)); }
  const std::atomic<bool>& cancelled() const { return cancelled_; }

  // Says goodbye and ends the thread.
  void leave() {
    if (!thread_.joinable()) return;
    leaving_ = true;
    thread_.join();
  }

  // After leave(): why the coordinator counts as lost; empty if it does not.
  const std::string& lost() const { return lost_; }

 private:
  void communicate() {
    try {
      transport_.send(make_message(MessageKind::kHello, 0, whereabouts()));
      exchange();
      if (lost_.empty()) {
        transport_.send(make_message(MessageKind::kGoodbye));
        transport_.flush(milliseconds(5'000));
      }
    } catch (const std::exception& error) {
      lose(fmt::format("the connection to the coordinator failed: {}", error.what()));
    }
  }

  void exchange() {
    Clock::time_point heard = Clock::now(), said = heard, previous = heard;
    const milliseconds slice = std::min(options_.heartbeat_interval, milliseconds(20));
    while (!leaving_) {
      if (std::optional<Message> message = transport_.receive(slice)) {
        heard = Clock::now();
        take(std::move(*message));
      }
      const Clock::time_point now = Clock::now();
      // This process itself was suspended or starved: the silence says nothing about the
      // coordinator.
      if (now - previous > options_.coordinator_timeout / 2) heard = now;
      previous = now;
      if (now - said >= options_.heartbeat_interval) {
        said = now;
        transport_.send(make_message(MessageKind::kHeartbeat));
      }
      if (now - heard > options_.coordinator_timeout) {
        const double silence = std::chrono::duration<double>(now - heard).count();
        return lose(fmt::format("worker {} has not heard of the coordinator for {}",
                                transport_.worker(), format_duration(silence)));
      }
    }
  }

  void take(Message message) {
    const std::lock_guard lock(mutex_);
    switch (static_cast<MessageKind>(message.kind)) {
      case MessageKind::kTask:
        if (!over_) tasks_.push_back(std::move(message));
        break;
      case MessageKind::kCancel:
        cancelled_ = true;
        [[fallthrough]];
      case MessageKind::kFinish:
        over_ = true;
        break;
      default:
        break;
    }
    changed_.notify_all();
  }

  void lose(const std::string& reason) {
    {
      const std::lock_guard lock(mutex_);
      lost_ = reason;
      cancelled_ = true;
      over_ = true;
    }
    changed_.notify_all();
    if (options_.on_coordinator_lost) options_.on_coordinator_lost(reason);
  }

  WorkerTransport& transport_;
  const WorkLoopOptions& options_;
  std::atomic<bool> leaving_{false};
  std::atomic<bool> cancelled_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Message> tasks_;  // guarded by mutex_, as are the next two
  bool over_ = false;
  std::string lost_;
  std::thread thread_;
};

Message failure_message(std::uint64_t unit, FailureKind kind, const char* reason) {
  return make_message(MessageKind::kFailure, unit, encode_failure({kind, reason}));
}

// The answer to one task; nothing if it was cancelled.
std::optional<Message> compute_answer(const Message& task, const ComputeFunction& compute,
                                      const std::atomic<bool>& cancelled) {
  try {
    return make_message(MessageKind::kResult, task.unit,
                        compute(task.unit, task.payload, cancelled));
  } catch (const UnitCancelled&) {
    return std::nullopt;
  } catch (const UnitFailure& failure) {
    return failure_message(task.unit, failure.kind(), failure.what());
  } catch (const std::bad_alloc&) {
    return failure_message(task.unit, FailureKind::kOutOfMemory, "out of host memory");
  } catch (const std::exception& error) {
    return failure_message(task.unit, FailureKind::kError, error.what());
  }
}

}  // namespace

std::uint64_t work(WorkerTransport& transport, const ComputeFunction& compute,
                   const WorkLoopOptions& options) {
  std::uint64_t answered = 0;
  Mailbox mailbox(transport, options);
  while (const std::optional<Message> task = mailbox.next()) {
    if (options.foresee)
      if (std::optional<Message> coming = mailbox.coming())
        options.foresee(coming->unit, std::move(coming->payload));
    std::optional<Message> answer = compute_answer(*task, compute, mailbox.cancelled());
    if (!answer) continue;
    if (answer->payload.size() > kLargestPayload)
      answer = failure_message(task->unit, FailureKind::kOutOfMemory,
                               "the result is too large to be sent");
    mailbox.answer(std::move(*answer));
    ++answered;
  }
  mailbox.leave();
  if (!mailbox.lost().empty()) throw RunError(mailbox.lost());
  return answered;
}

}  // namespace factflow
