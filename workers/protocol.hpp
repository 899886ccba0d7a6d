// The conversation between the coordinator and a worker.
//
// worker      -> kHello             once, at start; payload: host and process, for messages
// coordinator -> kTask*             at most kTasksInHand that are not yet answered
// worker      -> kResult, kFailure  one for each task that it began
// both        -> kHeartbeat         at a steady rate, whatever is being computed
// coordinator -> kFinish            end after the task in work, forget those not yet begun
// coordinator -> kCancel            the same, and leave the task in work as soon as possible
// worker      -> kGoodbye           the last message; afterwards the worker receives nothing
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace factflow {

enum class MessageKind : std::uint32_t {
  kHello = 1,
  kTask,
  kResult,
  kFailure,
  kHeartbeat,
  kFinish,
  kCancel,
  kGoodbye
};

// The task in work and some fetched ahead, so that a worker has work while the coordinator waits
// for a disk.
inline constexpr int kTasksInHand = 4;

enum class FailureKind : std::uint8_t {
  kOutOfMemory = 1,  // the unit did not fit on the device; it may be split
  kError,            // this unit failed; it may be tried elsewhere
  kFatal,            // nothing that this worker does can succeed; the run ends
  kBadInput,  // a checkpoint or tokenizer that no worker can use; the run ends, and the user must
              // act
  kLoading,   // a good model that cannot be loaded there, or that is computed wrongly there; no
              // other unit of it can be computed, so the run ends
};

struct Failure {
  FailureKind kind = FailureKind::kError;
  std::string reason;  // one line
};

// The payload of kFailure. Throws RunError for bytes that encode_failure did not make.
std::string encode_failure(const Failure& failure);
Failure decode_failure(std::string_view payload);

}  // namespace factflow
