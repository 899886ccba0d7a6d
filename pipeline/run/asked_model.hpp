// A model asked the first prompts of a dataset: what it gets right, and what its tokens are. For
// people who look before they run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "model/prompt.hpp"
#include "pipeline/run/accuracy.hpp"

namespace factflow {

class Network;
class Tokenizer;

struct AskedPrompt {
  std::int64_t id = 0;
  std::string failure;                       // why it cannot be asked; then there is nothing else
  std::int32_t rank = 0;                     // of the answer's first token
  double probability = 0;                    // likewise
  std::string says;                          // the likeliest token
  std::vector<std::string> subject, answer;  // tokens, as a reader would see them
  std::size_t tokens = 0;                    // of the prompt
};
struct AskedModel {
  ModelAccuracy accuracy;
  std::vector<AskedPrompt> prompts;  // in the order of the dataset
};

// The first `limit` of the prompts, in plain clean runs.
AskedModel ask_model(const Network& network, const Tokenizer& tokenizer,
                     const std::vector<Prompt>& prompts, std::int64_t limit, AnswerRule rule);

// Lines with a newline each: the accuracy, then every prompt.
std::string in_words(const AskedModel& asked);
// docs/json.md says what is in it.
nlohmann::json to_json(const AskedModel& asked);

}  // namespace factflow
