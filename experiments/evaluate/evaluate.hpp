// The clean run of every prompt in every model: probability and rank of the answer, the likeliest
// tokens. By its ranks prompts are selected for everything else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/experiment.hpp"

namespace factflow {

const ExperimentKind& evaluate_kind();

// What is found about one prompt.
struct PromptEvaluation {
  float probability = 0;
  std::int32_t rank = 0, tied = 0;  // as in Answer
  std::int32_t answer_token = 0;
  std::string answer_text;  // the token's
  bool changes = false;     // as in TokenizedPrompt
  std::int32_t token_count = 0;
  std::int32_t subject_begin = 0, subject_end = 0;  // token range [begin, end)
  std::vector<std::int32_t> top_token;
  std::vector<float> top_probability;
  std::vector<std::string> top_text;
};
std::string encode(const PromptEvaluation& evaluation);
PromptEvaluation decode_evaluation(const std::string& values);  // throws RunError for other bytes

}  // namespace factflow
