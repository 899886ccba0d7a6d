#include "pipeline/run/answers.hpp"

#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/loaded_model.hpp"
#include "model/tokenizer/tokenizer.hpp"

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

AnswersOfDataset look_at_answers(const Tokenizer& tokenizer, const std::vector<Prompt>& prompts,
                                 AnswerRule rule, const Architecture* architecture) {
  AnswersOfDataset answers;
  answers.rule = rule;
  answers.prompts = prompts.size();
  for (const Prompt& prompt : prompts) {
    try {
      const TokenizedPrompt tokens = tokenize(tokenizer, prompt, rule);
      if (architecture != nullptr)
        require_tokens(tokens, *architecture, fmt::format("prompt {}", prompt.id));
      answers.summary.add(prompt.answer, tokens.answer, tokenizer.token_text(tokens.answer),
                          tokens.changes);
    } catch (const InputError& error) {
      if (answers.failed++ == 0) answers.first_failure = error.what();
    }
  }
  if (prompts.empty()) return answers;
  if (const std::optional<int> token = closing_token(tokenizer, prompts[0].text))
    answers.closing_token = tokenizer.token_text(*token);
  return answers;
}

std::vector<std::string> AnswersOfDataset::warnings() const {
  std::vector<std::string> sentences = summary.warnings();
  if (failed > 0)
    sentences.push_back(fmt::format("{} of {} cannot be asked; the first: {}", failed,
                                    counted(prompts, "prompt"), first_failure));
  if (!closing_token.empty())
    sentences.push_back(fmt::format(
        "the tokenizer puts {} behind every prompt, so the answer is asked for behind this token",
        in_quotes(closing_token)));
  return sentences;
}

std::vector<std::string> describe(const AnswersOfDataset& answers) {
  std::vector<std::string> sentences = {
      fmt::format("answers ({}): {}", to_string(answers.rule), answers.summary.line())};
  for (const std::string& warning : answers.warnings()) sentences.push_back("warning: " + warning);
  return sentences;
}

nlohmann::json to_json(const AnswersOfDataset& answers) {
  nlohmann::json shared = nlohmann::json::array();
  for (const AnswerSummary::Shared& one : answers.summary.shared())
    shared.push_back({{"token", one.text}, {"answers", one.answers}, {"prompts", one.prompts}});
  return {{"rule", to_string(answers.rule)},
          {"prompts", answers.prompts},
          {"cannot_be_asked", answers.failed},
          {"different_answers", answers.summary.answers()},
          {"different_tokens", answers.summary.tokens()},
          {"shared_tokens", shared},
          {"warnings", answers.warnings()}};
}

}  // namespace factflow
