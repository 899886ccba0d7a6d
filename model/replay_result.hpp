// What the replay engine gives back.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

namespace factflow {

// What is read off the logits after the last token. NaN and rank 0: there is nothing to read (no
// edge). NaN and rank kernels::kNoRank: some logit is not a finite number.
struct Answer {
  // Natural logarithm of the answer token's softmax probability.
  double log_probability = std::numeric_limits<double>::quiet_NaN();
  std::int32_t rank = 0;  // 1 + how many other tokens are at least as likely
  std::int32_t tied = 0;  // how many of these are exactly as likely: they have the same logit

  // What the reference counts: 1 + how many tokens are likelier.
  std::int32_t published_rank() const { return rank - tied; }
};

struct TopToken {
  std::int32_t token;
  double probability;
};

struct ReplayResult {
  Answer clean{};
  std::vector<TopToken> top;  // the likeliest tokens of the clean run, if asked for
  // [cut][window]; rank 0 = the cut blocks no edge of this prompt.
  std::vector<std::vector<Answer>> knockouts;
};

}  // namespace factflow
