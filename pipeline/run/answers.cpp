#include "pipeline/run/answers.hpp"

#include <optional>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/loaded_model.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "results/answer_summary.hpp"

namespace factflow {
namespace {

// The token that the tokenizer puts behind every text, or nothing.
std::optional<int> closing_token(const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<int> with = tokenizer.encode(text).ids,
                         without = tokenizer.encode(text, false).ids;
  if (with.empty() || without.empty() || with.back() == without.back()) return std::nullopt;
  return with.back();
}

}  // namespace

std::vector<std::string> describe_answers(const Tokenizer& tokenizer,
                                          const std::vector<Prompt>& prompts, AnswerRule rule,
                                          const Architecture* architecture) {
  AnswerSummary summary;
  std::size_t failed = 0;
  std::string first_failure;
  for (const Prompt& prompt : prompts) {
    try {
      const TokenizedPrompt tokens = tokenize(tokenizer, prompt, rule);
      if (architecture != nullptr)
        require_tokens(tokens, *architecture, fmt::format("prompt {}", prompt.id));
      summary.add(prompt.answer, tokens.answer, tokenizer.token_text(tokens.answer),
                  tokens.changes);
    } catch (const InputError& error) {
      if (failed++ == 0) first_failure = error.what();
    }
  }
  std::vector<std::string> sentences = {
      fmt::format("answers ({}): {}", to_string(rule), summary.line())};
  for (const std::string& warning : summary.warnings()) sentences.push_back("warning: " + warning);
  if (failed > 0)
    sentences.push_back(fmt::format("warning: {} of {} cannot be asked; the first: {}", failed,
                                    counted(prompts.size(), "prompt"), first_failure));
  if (prompts.empty()) return sentences;
  if (const std::optional<int> token = closing_token(tokenizer, prompts[0].text))
    sentences.push_back(fmt::format(
        "warning: the tokenizer puts {} behind every prompt, so the answer is asked for "
        "behind this token",
        in_quotes(tokenizer.token_text(*token))));
  return sentences;
}

}  // namespace factflow
