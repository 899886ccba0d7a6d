// How many prompts each model gets right, and what that costs a set of prompts: pure functions of
// the configuration and the clean runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "pipeline/run/asked_prompts.hpp"

namespace factflow {

// What `select: {rank: 5}` would keep is told beside what is kept.
inline constexpr int kLenientRank = 5;

// Of one model. `prompts`: whose clean run gave numbers.
struct ModelAccuracy {
  std::string model;
  std::int64_t prompts = 0, failed = 0;
  std::int64_t right = 0;    // the answer is the likeliest token
  std::int64_t lenient = 0;  // it is among the likeliest kLenientRank
};
// ranks: [prompt] of the answer, 0 = failed.
ModelAccuracy accuracy_of(const std::string& model, const std::vector<std::int32_t>& ranks);
// "gpt2: right on 198 of 200 prompts (99.0 %), among the likeliest 5 on 200 (100.0 %)"
std::string describe(const ModelAccuracy& accuracy);

// Of a set of prompts that several models decide together (correct_for: all, or names of models).
struct SetAccuracy {
  struct Judge {
    std::string model;
    std::int64_t takes_out = 0;  // prompts that it does not get right
    std::int64_t alone = 0;      // of these, those that all others get right
  };
  std::string set;                                  // its name
  std::string words;                                // "correct_for: all"
  int rank = 1;                                     // at which an answer counts as right
  std::int64_t prompts = 0, kept = 0, lenient = 0;  // lenient: with kLenientRank in place of rank
  std::vector<Judge> judges;
};
// One for each such set, in the order of the configuration. All of its judges must be evaluated.
std::vector<SetAccuracy> accuracy_of_sets(const Config& config, const CleanRanks& ranks);
// "correct_for: all keeps 147 of 200 prompts: gpt2 takes out 2 (1 of them alone), mamba 52 (51 of
// them alone); with rank: 5 it would keep 190"
std::string describe(const SetAccuracy& accuracy);

// docs/json.md says what is in them.
nlohmann::json to_json(const ModelAccuracy& accuracy);
nlohmann::json to_json(const SetAccuracy& accuracy);

}  // namespace factflow
