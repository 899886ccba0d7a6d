#include "pipeline/run/asked_model.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/loaded_model.hpp"
#include "model/network.hpp"
#include "model/replay/replay.hpp"
#include "model/tokenizer/tokenizer.hpp"

namespace factflow {
namespace {

std::vector<std::string> texts_of(const Tokenizer& tokenizer, const std::vector<int>& ids) {
  std::vector<std::string> texts;
  for (const int id : ids) texts.push_back(tokenizer.token_text(id));
  return texts;
}

// What the tokenizer makes of a prompt, and the request; nothing to ask if that fails.
AskedPrompt tokenized(const Network& network, const Tokenizer& tokenizer, const Prompt& prompt,
                      AnswerRule rule, std::vector<ReplayRequest>& requests) {
  AskedPrompt asked;
  asked.id = prompt.id;
  try {
    const TokenizedPrompt tokens = tokenize(tokenizer, prompt, rule);
    require_tokens(tokens, network.architecture(), fmt::format("prompt {}", prompt.id));
    for (const int position : tokens.subject)
      asked.subject.push_back(tokenizer.token_text(tokens.ids[static_cast<size_t>(position)]));
    asked.answer = texts_of(tokenizer, answer_tokens(tokenizer, prompt.text, prompt.answer, rule));
    asked.tokens = tokens.ids.size();
    requests.push_back({tokens.ids, tokens.answer, {}});
  } catch (const InputError& error) {
    asked.failure = error.what();
  }
  return asked;
}

void note(AskedPrompt& asked, const ReplayResult& result, const Tokenizer& tokenizer) {
  if (result.clean.rank == kernels::kNoRank) {
    asked.failure = "the model's output is not a finite number";
    return;
  }
  asked.rank = result.clean.rank;
  asked.probability = std::exp(result.clean.log_probability);
  const int top = result.top.at(0).token;
  asked.says = tokenizer.has_token(top) ? tokenizer.token_text(top) : "(padding)";
}

std::string line(const AskedPrompt& asked) {
  if (!asked.failure.empty())
    return fmt::format("  {:>8}  cannot be asked: {}\n", asked.id, asked.failure);
  std::string text = fmt::format("  {:>8}  {:>6}  {:>8.4f}  answer {}, subject {}", asked.id,
                                 asked.rank, asked.probability, in_quotes(join(asked.answer, "|")),
                                 in_quotes(join(asked.subject, "|")));
  if (asked.rank != 1) text += fmt::format(", says {}", in_quotes(asked.says));
  return text + "\n";
}

}  // namespace

AskedModel ask_model(const Network& network, const Tokenizer& tokenizer,
                     const std::vector<Prompt>& prompts, std::int64_t limit, AnswerRule rule) {
  AskedModel asked;
  std::vector<ReplayRequest> requests;
  const size_t count = std::min(prompts.size(), static_cast<size_t>(limit));
  for (size_t p = 0; p < count; ++p)
    asked.prompts.push_back(tokenized(network, tokenizer, prompts[p], rule, requests));
  std::vector<ReplayResult> results;
  if (!requests.empty()) results = ReplayEngine(network, 0).run(requests, 1);
  std::vector<std::int32_t> ranks;
  auto result = results.begin();
  for (AskedPrompt& one : asked.prompts) {
    if (one.failure.empty()) note(one, *result++, tokenizer);
    ranks.push_back(one.rank);
  }
  asked.accuracy = accuracy_of("accuracy", ranks);
  return asked;
}

std::string in_words(const AskedModel& asked) {
  std::string text = describe(asked.accuracy) + "\n";
  if (!asked.prompts.empty())
    text +=
        "  prompt id    rank         p  tokens, with | between them; rank and p are of the "
        "answer's first\n";
  for (const AskedPrompt& one : asked.prompts) text += line(one);
  return text;
}

nlohmann::json to_json(const AskedModel& asked) {
  nlohmann::json prompts = nlohmann::json::array();
  for (const AskedPrompt& one : asked.prompts)
    prompts.push_back(
        {{"id", one.id},
         {"failure", one.failure.empty() ? nlohmann::json() : nlohmann::json(one.failure)},
         {"rank", one.rank},
         {"probability", one.probability},
         {"says", one.says},
         {"tokens", one.tokens},
         {"subject_tokens", one.subject},
         {"answer_tokens", one.answer}});
  nlohmann::json all = to_json(asked.accuracy);
  all.erase("model");
  all["of_prompts"] = prompts;
  return all;
}

}  // namespace factflow
