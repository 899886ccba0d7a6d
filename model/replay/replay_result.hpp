// What the replay engine gives back.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include <ATen/ATen.h>

namespace factflow {

// What is read off the logits after the last token. NaN and rank 0: there is nothing to read (no
// edge). NaN and rank kernels::kNoRank: some logit is not a finite number.
struct Answer {
  // Natural logarithm of the answer token's softmax probability.
  double log_probability = std::numeric_limits<double>::quiet_NaN();
  std::int32_t rank = 0;  // 1 + how many other tokens are at least as likely
  std::int32_t tied = 0;  // how many of these are exactly as likely: they have the same logit
  // In how many layers some token of the run goes to other experts than in the clean run.
  std::int32_t rerouted = 0;
  // How many edges (target, source) the run loses, summed over its layers and their mixers.
  std::int32_t blocked_edges = 0;

  // What the reference counts: 1 + how many tokens are likelier.
  std::int32_t published_rank() const { return rank - tied; }
};

struct TopToken {
  std::int32_t token;
  double probability;
};

// Where values that are read come to: the host, or the device, for a pass that takes them up.
enum class ReadsOn { kHost, kDevice };

// A value that was read: a row of all that was read at its site and layer.
struct ReadValue {
  at::Tensor rows;  // [reads, width] in the model's wide numbers
  std::int64_t row = 0;
  at::Tensor value() const { return rows[row]; }  // [width]
};

struct ReplayResult {
  Answer clean{};
  std::vector<TopToken> top;  // the likeliest tokens of the clean run, if asked for
  // [series][run]; rank 0 = the series changes nothing in this prompt.
  std::vector<std::vector<Answer>> knockouts;
  std::vector<ReadValue> reads;  // per read of the request
};

}  // namespace factflow
