// From two final streams of the last token to what changed between them: which part of the change
// of the answer's log-probability is its own logit's, the strongest competitor's, the other
// tokens', and the final norm's. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include <ATen/ATen.h>

#include "experiments/surge/surge_arrays.hpp"
#include "model/network.hpp"

namespace factflow {

// Logits as scale * direct + constant, float64 on the host: `direct` is linear in the stream, and
// its mean over the vocabulary is 0, which no probability notices.
struct SplitLogits {
  double scale = 1;             // what the final norm multiplies by, 1 / rms; 1: there is none
  at::Tensor direct, constant;  // [vocabulary]
  at::Tensor logits() const { return scale * direct + constant; }
};
// `stream` [hidden], float64 on the host. Nothing: the model's logits are no such sum (they are
// capped, say).
std::optional<SplitLogits> split_logits(const Network& network, const at::Tensor& stream);

// log_softmax of what the final norm and the head make of streams [n, hidden]: [n, vocabulary],
// float64 on the host.
at::Tensor lens(const Network& network, const at::Tensor& streams);

// What vectors [n, hidden] add to `direct` of each token: [n, vocabulary].
at::Tensor direct_of(const Network& network, const at::Tensor& vectors);

// The Shapley values of the four parts: the mean, over all orders in which they may change from
// `clean` to `knocked`, of what each adds to ln p of the answer. Their sum is the whole change.
std::array<double, kParts> change_parts(const SplitLogits& clean, const SplitLogits& knocked,
                                        std::int64_t answer, std::int64_t competitor);

}  // namespace factflow
