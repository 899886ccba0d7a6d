// What a tokenizer makes of a dataset's answers, before anything is computed.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "model/prompt.hpp"
#include "results/answer_summary.hpp"

namespace factflow {

struct Architecture;
class Tokenizer;

struct AnswersOfDataset {
  AnswerRule rule = AnswerRule::kContinuation;
  AnswerSummary summary;      // of the prompts that can be asked
  std::size_t prompts = 0;    // all
  std::size_t failed = 0;     // cannot be asked
  std::string first_failure;  // why, of the first of these
  std::string closing_token;  // that the tokenizer puts behind every prompt, or ""

  // Whatever makes the numbers mean something else than they seem to.
  std::vector<std::string> warnings() const;
};

// With `architecture`, prompts that this model cannot take count as failed, too.
AnswersOfDataset look_at_answers(const Tokenizer& tokenizer, const std::vector<Prompt>& prompts,
                                 AnswerRule rule, const Architecture* architecture = nullptr);

// Sentences for people: how many tokens the answers begin with, then "warning: ..." for each of
// warnings().
std::vector<std::string> describe(const AnswersOfDataset& answers);
// docs/json.md says what is in it.
nlohmann::json to_json(const AnswersOfDataset& answers);

}  // namespace factflow
