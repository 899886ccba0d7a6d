#include "results/answer_summary.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/text.hpp"

namespace factflow {
namespace {

// So many answers may begin alike ("New York", "New Zealand") before it is worth a word.
constexpr double kManyShared = 0.1;

// The last three are a no-break space, a wide space, and the mark that tokenizers write for one.
constexpr std::array<std::string_view, 9> kSpaces = {" ",  "\t",     "\n",     "\r",    "\v",
                                                     "\f", "\u00a0", "\u3000", "\u2581"};

bool is_only_space(std::string_view text) {
  while (!text.empty()) {
    const std::string_view before = text;
    for (const std::string_view space : kSpaces)
      if (text.starts_with(space)) text.remove_prefix(space.size());
    if (text.size() == before.size()) return false;
  }
  return true;
}

std::string count(std::size_t number) {
  return format_count(static_cast<double>(number));
}

// "1 prompt", "21,919 prompts"
std::string count(std::size_t number, const std::string& noun) {
  return number == 1 ? "1 " + noun : fmt::format("{} {}s", count(number), noun);
}

}  // namespace

void AnswerSummary::add(const std::string& answer, std::int64_t token, std::string_view token_text,
                        bool changes) {
  Token& seen = tokens_[token];
  seen.text = token_text;
  seen.answers.insert(answer);
  ++seen.prompts;
  answers_.insert(answer);
  ++prompts_;
  if (changes) ++changes_;
  if (is_only_space(token_text)) ++spaces_;
}

std::string AnswerSummary::line() const {
  return fmt::format("{} {} {}, which {} with {}", count(prompts_, "prompt"),
                     prompts_ == 1 ? "has" : "have", count(answers_.size(), "different answer"),
                     answers_.size() == 1 ? "begins" : "begin",
                     count(tokens_.size(), "different token"));
}

std::vector<AnswerSummary::Shared> AnswerSummary::shared() const {
  std::vector<Shared> all;
  for (const auto& [id, token] : tokens_)
    if (token.answers.size() > 1)
      all.push_back({token.text, {token.answers.begin(), token.answers.end()}, token.prompts});
  std::stable_sort(all.begin(), all.end(),
                   [](const Shared& a, const Shared& b) { return a.prompts > b.prompts; });
  return all;
}

std::vector<std::string> AnswerSummary::warnings() const {
  std::vector<std::string> sentences;
  if (spaces_ > 0)
    sentences.push_back(fmt::format("the answer's token is only space in {} of {}", count(spaces_),
                                    count(prompts_, "prompt")));
  std::size_t shared = 0;
  const Token* most = nullptr;
  for (const auto& [id, token] : tokens_) {
    if (token.answers.size() < 2) continue;
    shared += token.prompts;
    if (most == nullptr || token.prompts > most->prompts) most = &token;
  }
  if (most != nullptr && static_cast<double>(shared) > kManyShared * static_cast<double>(prompts_))
    sentences.push_back(fmt::format(
        "{} of {} share the answer's token with other answers: {} alone stands for {} in {}",
        count(shared), count(prompts_, "prompt"), in_quotes(most->text),
        count(most->answers.size(), "answer"), count(most->prompts, "prompt")));
  if (changes_ > 0)
    sentences.push_back(fmt::format(
        "the prompt's own tokens are others when the answer follows in {} of {}, which {} used as "
        "{} encoded alone",
        count(changes_), count(prompts_, "prompt"), changes_ == 1 ? "is" : "are",
        changes_ == 1 ? "it is" : "they are"));
  return sentences;
}

}  // namespace factflow
