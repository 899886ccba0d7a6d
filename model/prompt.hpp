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
  // What an edit of the fact is asked and judged with (Meng et al. 2022, section 3.3); empty where
  // the dataset says nothing.
  std::string new_answer = {};                // another continuation, with its leading space
  std::vector<std::string> paraphrases = {};  // other texts that ask for the answer
  // Texts that ask the same of other subjects, whose answer is the same.
  std::vector<std::string> neighbours = {};
};

// Which token stands for the answer.
enum class AnswerRule : std::uint8_t {
  // The first one that follows the prompt's tokens when prompt and answer are encoded as one text.
  kContinuation,
  // The first one of the answer encoded alone: what the code of Endy et al. reads. Tokenizers that
  // prepend a space give a lone space for every answer.
  kFirstToken,
};
std::string to_string(AnswerRule rule);                  // "continuation", "first-token"
AnswerRule parse_answer_rule(const std::string& given);  // throws InputError for others

// A prompt as one model sees it.
struct TokenizedPrompt {
  // With the tokenizer's special tokens.
  std::vector<int> ids;
  // Per token: [begin, end) bytes of the text; (0, 0) for added tokens.
  std::vector<std::pair<std::int64_t, std::int64_t>> offsets;
  // Positions of tokens that overlap the subject, ascending.
  std::vector<int> subject;
  int answer = 0;  // the token that the rule chooses
  // The prompt's own tokens are others when the answer follows. `ids` are those of the prompt alone
  // all the same, and the answer's token is the first one that begins at or after the prompt's end.
  bool changes = false;
  Prompt prompt = {};  // that has these tokens
};

// Throws InputError (where = "prompt ID") if the prompt has no tokens or no subject token, or if no
// token is the answer's.
TokenizedPrompt tokenize(const Tokenizer& tokenizer, const Prompt& prompt, AnswerRule rule);

// All tokens of an answer, the first of which is the one that the rule chooses; empty: it has none.
std::vector<int> answer_tokens(const Tokenizer& tokenizer, const std::string& text,
                               const std::string& answer, AnswerRule rule);

// The positions of a role, ascending; may be empty (a prompt that starts with its subject has no
// context). kEach is not a group of positions: throws std::logic_error; callers expand it first.
std::vector<int> positions_of(TokenRole role, const TokenizedPrompt& prompt);

}  // namespace factflow
