// The clean run of a model in the results file: group MODEL/evaluation.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "results/results_file.hpp"

namespace factflow {

// The clean run. Vectors over [prompt], the top_* ones over [prompt, top] row-major.
struct EvaluationResult {
  std::vector<std::int64_t> prompt;  // ids, a subset of PromptTable::id
  std::vector<float> probability;    // of the answer's token; NaN where the prompt failed
  // 1 + how many other tokens are at least as likely; 0 where the prompt failed.
  std::vector<std::int32_t> rank;
  std::vector<std::int32_t> answer_token;  // vocabulary id; -1 where the prompt failed
  std::vector<std::string> answer_text;    // of that token; "" where the prompt failed
  // 1 = the prompt's own tokens are others when the answer follows.
  std::vector<std::int32_t> changes;
  std::vector<std::int32_t> token_count;
  std::vector<std::int32_t> subject_begin, subject_end;  // token range [begin, end)
  std::int64_t top = 5;
  std::vector<std::int32_t> top_token;
  std::vector<float> top_probability;
  std::vector<std::string> top_text;
  // How many other tokens are exactly as likely as the answer; empty: not counted.
  std::vector<std::int32_t> tied = {};
};

ArrayGroup arrays_of(const EvaluationResult& evaluation);

// `model` is a name out of the reader's models. Throw InputError for what arrays_of() did not make.
bool has_evaluation(const ResultsReader& reader, const std::string& model);
EvaluationResult read_evaluation(const ResultsReader& reader, const std::string& model);

}  // namespace factflow
