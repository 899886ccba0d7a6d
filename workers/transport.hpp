// How the coordinator and its workers talk: small messages with opaque payloads, whatever carries
// them.
//
//   coordinator thread  <->  CoordinatorTransport  <~ queues or MPI ~>  WorkerTransport  <->  one
//   worker
//
// Worker numbers run from 0 to workers() - 1. Messages between one pair arrive in the order in
// which they were sent; nothing is promised between different workers. What `kind` means is the
// business of workers/protocol.hpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace factflow {

struct Message {
  std::uint32_t kind = 0;
  std::uint32_t worker = 0;  // the worker that sent it or is to get it; filled in by the transports
  std::uint64_t unit = 0;
  std::string payload;  // at most kLargestPayload bytes
};

// MPI counts bytes with an int.
inline constexpr std::size_t kLargestPayload = (std::size_t{1} << 31) - 4096;

// The coordinator's end. Used by one thread at a time.
class CoordinatorTransport {
 public:
  virtual ~CoordinatorTransport() = default;
  virtual int workers() const = 0;
  // The next message of any worker; empty after `timeout` without one. Also drives what send() left
  // to do, so it must be called again and again while anything is under way. Throws RunError if the
  // carrier fails.
  virtual std::optional<Message> receive(std::chrono::milliseconds timeout) = 0;
  // Returns at once; the message leaves in the background. Throws RunError for a payload above
  // kLargestPayload.
  virtual void send(int worker, Message message) = 0;
};

// A worker's end. receive() belongs to one thread, which must call it again and again because it
// also drives what send() left to do; send() may be called from any thread.
class WorkerTransport {
 public:
  virtual ~WorkerTransport() = default;
  virtual int worker() const = 0;
  virtual std::optional<Message> receive(std::chrono::milliseconds timeout) = 0;
  virtual void send(Message message) = 0;
  // Waits until everything sent so far has left, at most `timeout`; false if something has not.
  // Same thread as receive().
  virtual bool flush(std::chrono::milliseconds timeout) = 0;
};

}  // namespace factflow
