#include <cmath>

#include "workers/experiments.hpp"

namespace factflow {
namespace {

constexpr int kTopTokens = 5;

PromptEvaluation record(const LoadedModel& model, const TokenizedPrompt& prompt,
                        const ReplayResult& result) {
  PromptEvaluation evaluation;
  if (result.clean.rank == kernels::kNoRank) {
    evaluation.failure = kNotFinite;
    return evaluation;
  }
  evaluation.probability = static_cast<float>(std::exp(result.clean.log_probability));
  evaluation.rank = result.clean.rank;
  evaluation.tied = result.clean.tied;
  evaluation.answer_token = prompt.answer;
  evaluation.answer_text = model.tokenizer().token_text(prompt.answer);
  evaluation.changes = prompt.changes;
  evaluation.token_count = static_cast<std::int32_t>(prompt.ids.size());
  evaluation.subject_begin = prompt.subject.front();
  evaluation.subject_end = prompt.subject.back() + 1;
  for (const TopToken& top : result.top) {
    evaluation.top_token.push_back(top.token);
    evaluation.top_probability.push_back(static_cast<float>(top.probability));
    // Rows of the embedding without a token are padding.
    evaluation.top_text.push_back(
        model.tokenizer().has_token(top.token) ? model.tokenizer().token_text(top.token) : "");
  }
  return evaluation;
}

}  // namespace

EvaluationUnit evaluate(LoadedModel& model, const PreparedUnit& prepared) {
  EvaluationUnit done;
  done.prompts = failures_of<PromptEvaluation>(prepared);
  std::vector<ReplayRequest> requests;
  for (const TokenizedPrompt& prompt : prepared.prompts)
    requests.push_back({prompt.ids, prompt.answer, {}});
  const std::vector<ReplayResult> results = model.replay(requests, kTopTokens);
  for (size_t k = 0; k < results.size(); ++k)
    done.prompts[prepared.index[k]] = record(model, prepared.prompts[k], results[k]);
  done.facts = model.facts();
  return done;
}

}  // namespace factflow
