// What the tokens of the answers tell apart: one token may stand for many answers, or be only
// space.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace factflow {

// Collects the answers' tokens of one model's prompts.
class AnswerSummary {
 public:
  // One prompt: its answer as text, the token that stands for it, that token's text, and whether
  // the prompt's own tokens are others when the answer follows.
  void add(const std::string& answer, std::int64_t token, std::string_view token_text,
           bool changes);

  // "200 prompts have 40 different answers, which begin with 38 different tokens"
  std::string line() const;
  std::size_t prompts() const { return prompts_; }
  std::size_t answers() const { return answers_.size(); }
  std::size_t tokens() const { return tokens_.size(); }
  // Tokens that several answers begin with, those of the most prompts first; answers as they stand
  // in the dataset, with their leading space.
  struct Shared {
    std::string text;
    std::vector<std::string> answers;
    std::size_t prompts = 0;
  };
  std::vector<Shared> shared() const;

  // What makes the numbers mean something else than they seem to; none if all is well.
  std::vector<std::string> warnings() const;

 private:
  struct Token {
    std::string text;
    std::set<std::string> answers;
    std::size_t prompts = 0;
  };
  std::map<std::int64_t, Token> tokens_;
  std::set<std::string> answers_;
  std::size_t prompts_ = 0, changes_ = 0, spaces_ = 0;
};

}  // namespace factflow
