#include "model/prompt.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/tokenizer/tokenizer.hpp"

namespace factflow {
namespace {

// Positions of tokens that cover at least one byte of [begin, end).
std::vector<int> overlapping(const Encoding& encoding, std::int64_t begin, std::int64_t end) {
  std::vector<int> positions;
  for (size_t i = 0; i < encoding.offsets.size(); ++i) {
    const auto [first, last] = encoding.offsets[i];
    if (std::max(first, begin) < std::min(last, end)) positions.push_back(static_cast<int>(i));
  }
  return positions;
}

// Those that begin at or after `end`.
std::vector<int> beyond(const Encoding& encoding, std::int64_t end) {
  const auto first = std::find_if(encoding.offsets.begin(), encoding.offsets.end(),
                                  [&](const auto& offsets) { return offsets.first >= end; });
  return {encoding.ids.begin() + (first - encoding.offsets.begin()), encoding.ids.end()};
}

struct AnswerTokens {
  std::vector<int> ids;  // empty: the answer has none
  bool changes = false;  // as in TokenizedPrompt
};

// Special tokens are left out of both texts: those behind the prompt would part it from its answer.
AnswerTokens continuation(const Tokenizer& tokenizer, const std::string& prompt,
                          const std::string& answer) {
  const std::vector<int> alone = tokenizer.encode_raw(prompt).ids;
  const std::string text = prompt + answer;
  const Encoding together = tokenizer.encode_raw(text);
  tokenizer.require_agreement(text);
  const bool begins = together.ids.size() >= alone.size() &&
                      std::equal(alone.begin(), alone.end(), together.ids.begin());
  if (!begins) return {beyond(together, static_cast<std::int64_t>(prompt.size())), true};
  return {{together.ids.begin() + static_cast<std::ptrdiff_t>(alone.size()), together.ids.end()}};
}

AnswerTokens answer_of(const Tokenizer& tokenizer, const std::string& prompt,
                       const std::string& answer, AnswerRule rule) {
  if (rule == AnswerRule::kContinuation) return continuation(tokenizer, prompt, answer);
  return {tokenizer.encode(answer, /*add_special_tokens=*/false).ids};
}

}  // namespace

std::string to_string(AnswerRule rule) {
  return rule == AnswerRule::kContinuation ? "continuation" : "first-token";
}

AnswerRule parse_answer_rule(const std::string& given) {
  for (const AnswerRule rule : {AnswerRule::kContinuation, AnswerRule::kFirstToken})
    if (given == to_string(rule)) return rule;
  throw InputError("answer", unknown_word("rule", given,
                                          {to_string(AnswerRule::kContinuation),
                                           to_string(AnswerRule::kFirstToken)}));
}

TokenizedPrompt tokenize(const Tokenizer& tokenizer, const Prompt& prompt, AnswerRule rule) {
  const std::string where = fmt::format("prompt {}", prompt.id);
  Encoding text = tokenizer.encode(prompt.text);
  tokenizer.require_agreement(prompt.text);
  if (text.ids.empty()) throw InputError(where, "has no tokens", "give it a text");
  TokenizedPrompt result;
  result.prompt = prompt;
  const auto subject_end = prompt.subject_begin + static_cast<std::int64_t>(prompt.subject.size());
  result.subject = overlapping(text, prompt.subject_begin, subject_end);
  if (result.subject.empty()) {
    throw InputError(where, fmt::format("no token covers the subject '{}'", prompt.subject),
                     "check where the subject begins");
  }
  const AnswerTokens answer = answer_of(tokenizer, prompt.text, prompt.answer, rule);
  if (answer.ids.empty())
    throw InputError(
        where,
        fmt::format("the answer '{}' has no token{}", prompt.answer,
                    rule == AnswerRule::kContinuation ? " of its own behind the prompt" : ""),
        "give it another answer");
  result.answer = answer.ids.front();
  result.changes = answer.changes;
  result.ids = std::move(text.ids);
  result.offsets = std::move(text.offsets);
  return result;
}

std::vector<int> answer_tokens(const Tokenizer& tokenizer, const std::string& text,
                               const std::string& answer, AnswerRule rule) {
  return answer_of(tokenizer, text, answer, rule).ids;
}

std::vector<int> positions_of(TokenRole role, const TokenizedPrompt& prompt) {
  const int tokens = static_cast<int>(prompt.ids.size());
  std::vector<int> all(prompt.ids.size());
  std::iota(all.begin(), all.end(), 0);
  const auto is_subject = [&](int position) {
    return std::binary_search(prompt.subject.begin(), prompt.subject.end(), position);
  };
  switch (role) {
    case TokenRole::kLast:
      return {tokens - 1};
    case TokenRole::kFirst:
      return {0};
    case TokenRole::kSubject:
      return prompt.subject;
    case TokenRole::kRelationMinusLast:
      all.pop_back();
      [[fallthrough]];
    case TokenRole::kRelation:
      std::erase_if(all, is_subject);
      return all;
    case TokenRole::kContext:
      all.resize(prompt.subject.empty() ? 0 : static_cast<size_t>(prompt.subject.front()));
      return all;
    case TokenRole::kAll:
      return all;
    case TokenRole::kEach:
      break;
  }
  throw std::logic_error("the role 'each' stands for one knockout per token: expand it first");
}

}  // namespace factflow
