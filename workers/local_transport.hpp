// Messages within one process: workers are threads. Carries tests and benchmarks, and rank 0's own
// worker under MPI.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "workers/transport.hpp"

namespace factflow {

// An unbounded queue of messages. Its length is bounded by the protocol: a worker holds few units
// at a time. Safe for any number of threads.
class MessageQueue {
 public:
  void push(Message message);
  std::optional<Message> pop(std::chrono::microseconds timeout);

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Message> messages_;
};

// Throws RunError if the payload is above kLargestPayload.
void check_payload_size(const Message& message);

// The worker's end of two queues. Refers to the queues; they must outlive it.
class LocalWorkerTransport : public WorkerTransport {
 public:
  LocalWorkerTransport(int worker, MessageQueue& to_coordinator, MessageQueue& to_worker)
      : worker_(worker), to_coordinator_(to_coordinator), to_worker_(to_worker) {}
  int worker() const override { return worker_; }
  std::optional<Message> receive(std::chrono::milliseconds timeout) override {
    return to_worker_.pop(timeout);
  }
  void send(Message message) override;
  bool flush(std::chrono::milliseconds) override { return true; }

 private:
  int worker_;
  MessageQueue& to_coordinator_;
  MessageQueue& to_worker_;
};

// A coordinator's end and `workers` workers' ends, all owned here.
class LocalTransport : public CoordinatorTransport {
 public:
  explicit LocalTransport(int workers);
  int workers() const override { return static_cast<int>(to_workers_.size()); }
  std::optional<Message> receive(std::chrono::milliseconds timeout) override {
    return to_coordinator_.pop(timeout);
  }
  void send(int worker, Message message) override;
  WorkerTransport& worker(int index) { return *ends_.at(static_cast<std::size_t>(index)); }

 private:
  MessageQueue to_coordinator_;
  std::vector<std::unique_ptr<MessageQueue>> to_workers_;
  std::vector<std::unique_ptr<LocalWorkerTransport>> ends_;
};

}  // namespace factflow
