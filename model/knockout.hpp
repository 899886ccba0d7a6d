// Knockouts as data: which edges lose their flow, in which layers, on which channels. Nothing here
// computes. Source: Endy et al., ACL 2025 (arXiv 2505.24244), section 3; exact meaning in
// docs/knockouts.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace factflow {

// A group of token positions of a prompt.
enum class TokenRole {
  kLast,
  kFirst,
  kSubject,
  kRelation,
  kRelationMinusLast,
  kContext,
  kAll,
  kEach
};

// "last", "first", "subject", "relation", "relation-minus-last", "context", "all", "each".
const std::vector<std::string>& token_role_names();
std::string to_string(TokenRole role);
TokenRole parse_token_role(std::string_view name);  // throws InputError with the nearest known name

// The channels (Mamba-1) or heads (Mamba-2) that LOSE the edge, by the rank of the L1 norm of
// exp(-exp(A_log)).
struct ChannelSet {
  enum class Kind { kAll, kSlow, kFast, kNotSlow, kNotFast, kQuantile };
  Kind kind = Kind::kAll;
  // KQuantile: 1-based slice of `slices` equal slices, slowest decay (largest norm) first.
  int slice = 1;
  int slices = 1;
  bool operator==(const ChannelSet&) const = default;
};
std::string to_string(const ChannelSet& channels);    // "all", "slow", ..., "quantile 2/5"
ChannelSet parse_channel_set(std::string_view name);  // throws InputError

// Layers [begin, end) in which an edge is blocked.
struct Window {
  int begin = 0;
  int end = 0;
  bool operator==(const Window&) const = default;
};

// The number of (target, source) pairs with source <= target: 0 means that the knockout blocks no
// edge.
// `reach`: tokens, itself included, that a target reads; 0: all before it.
std::int64_t count_edges(const std::vector<int>& targets, const std::vector<int>& sources,
                         int reach = 0);
// Of these pairs, those within reach of a causal convolution of `taps` tokens.
std::int64_t count_taps(const std::vector<int>& targets, const std::vector<int>& sources, int taps);

}  // namespace factflow
