// What the replay engine gives back.
#pragma once

#include <cstdint>
#include <vector>

namespace factflow {

// What is read off the logits after the last token. NaN and 0 where there is nothing to read (no
// edge).
struct Answer {
  double log_probability;  // natural logarithm of the answer token's softmax probability
  std::int32_t rank;       // 1 + how many tokens are likelier
};

struct TopToken {
  std::int32_t token;
  double probability;
};

struct ReplayResult {
  Answer clean{};
  std::vector<TopToken> top;  // the likeliest tokens of the clean run, if asked for
  // [cut][window]; NaN and rank 0 = the cut blocks no edge of this prompt.
  std::vector<std::vector<Answer>> knockouts;
};

}  // namespace factflow
