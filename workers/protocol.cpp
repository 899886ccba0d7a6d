#include "workers/protocol.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace factflow {

std::string encode_failure(const Failure& failure) {
  std::string payload(1, static_cast<char>(failure.kind));
  payload += failure.reason;
  std::replace(payload.begin() + 1, payload.end(), '\n', ' ');
  return payload;
}

Failure decode_failure(std::string_view payload) {
  const int kind = payload.empty() ? 0 : payload[0];
  if (kind < static_cast<int>(FailureKind::kOutOfMemory) ||
      kind > static_cast<int>(FailureKind::kLoading))
    throw RunError(
        "a worker's report of a failure is malformed; are all ranks running the same program?");
  return {static_cast<FailureKind>(kind), std::string(payload.substr(1))};
}

}  // namespace factflow
