#include "workers/local_transport.hpp"

#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"

namespace factflow {

void MessageQueue::push(Message message) {
  {
    const std::lock_guard lock(mutex_);
    messages_.push_back(std::move(message));
  }
  arrived_.notify_one();
}

std::optional<Message> MessageQueue::pop(std::chrono::microseconds timeout) {
  std::unique_lock lock(mutex_);
  if (!arrived_.wait_for(lock, timeout, [this] { return !messages_.empty(); })) return std::nullopt;
  Message message = std::move(messages_.front());
  messages_.pop_front();
  return message;
}

void check_payload_size(const Message& message) {
  if (message.payload.size() > kLargestPayload)
    throw RunError(fmt::format(
        "unit {}: a message of {} is larger than the {} that can be sent; use smaller units",
        message.unit, format_bytes(static_cast<double>(message.payload.size())),
        format_bytes(static_cast<double>(kLargestPayload))));
}

void LocalWorkerTransport::send(Message message) {
  check_payload_size(message);
  message.worker = static_cast<std::uint32_t>(worker_);
  to_coordinator_.push(std::move(message));
}

LocalTransport::LocalTransport(int workers) {
  for (int i = 0; i < workers; ++i) {
    to_workers_.push_back(std::make_unique<MessageQueue>());
    ends_.push_back(
        std::make_unique<LocalWorkerTransport>(i, to_coordinator_, *to_workers_.back()));
  }
}

void LocalTransport::send(int worker, Message message) {
  check_payload_size(message);
  message.worker = static_cast<std::uint32_t>(worker);
  to_workers_.at(static_cast<std::size_t>(worker))->push(std::move(message));
}

}  // namespace factflow
