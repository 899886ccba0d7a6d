// A prompt, its tokens, and which of them play which role.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "model/knockout.hpp"

namespace factflow {

class Tokenizer;

// One question to a model. All offsets are bytes of the UTF-8 text.
struct Prompt {
  // The dataset's own id (case_id, original_idx, ...), unique in a dataset.
  std::int64_t id = 0;
  std::string text;                // what the model reads
  std::string subject;             // what the fact is about, without surrounding space
  std::int64_t subject_begin = 0;  // text.substr(subject_begin, subject.size()) == subject
  std::string answer;              // the right continuation, with its leading space
  std::string relation;            // the dataset's relation id, or "" if it has none
};

// A prompt as one model sees it.
struct TokenizedPrompt {
  // With the tokenizer's special tokens.
  std::vector<int> ids;
  // Per token: [begin, end) bytes of the text; (0, 0) for added tokens.
  std::vector<std::pair<std::int64_t, std::int64_t>> offsets;
  // Positions of tokens that overlap the subject, ascending.
  std::vector<int> subject;
  // First token of the answer, without special tokens.
  int answer = 0;
};

// Throws InputError (where = "prompt ID") if the prompt has no tokens, no subject token, or the
// answer has no token.
TokenizedPrompt tokenize(const Tokenizer& tokenizer, const Prompt& prompt);

// The positions of a role, ascending; may be empty (a prompt that starts with its subject has no
// context). kEach is not a group of positions: throws std::logic_error; callers expand it first.
std::vector<int> positions_of(TokenRole role, const TokenizedPrompt& prompt);

}  // namespace factflow
