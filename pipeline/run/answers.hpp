// What a tokenizer makes of a dataset's answers, before anything is computed.
#pragma once

#include <string>
#include <vector>

#include "model/prompt.hpp"

namespace factflow {

struct Architecture;
class Tokenizer;

// Sentences for people: how many tokens the answers begin with, then a warning for each thing that
// makes the numbers mean something else than they seem to ("warning: ..."). With `architecture`,
// prompts that this model cannot take are counted, too.
std::vector<std::string> describe_answers(const Tokenizer& tokenizer,
                                          const std::vector<Prompt>& prompts, AnswerRule rule,
                                          const Architecture* architecture = nullptr);

}  // namespace factflow
