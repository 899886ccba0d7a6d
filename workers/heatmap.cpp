#include <cmath>

#include "workers/experiments.hpp"

namespace factflow {
namespace {

PromptHeatmap record(const LoadedModel& model, const ModelJob& job, const TokenizedPrompt& prompt, const ReplayResult& result) {
  PromptHeatmap heatmap;
  for (const int id : prompt.ids) heatmap.tokens.push_back(model.tokenizer().token_text(id));
  size_t first = 0;
  for (const WindowSeries& series : job.heatmaps) {
    std::vector<float>& probability = heatmap.probability.emplace_back();
    for (size_t token = 0; token < prompt.ids.size(); ++token) {
      for (size_t i = 0; i < series.windows.size(); ++i) {
        const Answer& answer = result.knockouts[token][first + i];
        if (!std::isfinite(answer.log_probability)) heatmap.failure = kNotFinite;
        probability.push_back(static_cast<float>(std::exp(answer.log_probability)));
      }
    }
    first += series.windows.size();
  }
  return heatmap;
}

}  // namespace

HeatmapUnit draw_heatmaps(LoadedModel& model, const ModelJob& job, const std::vector<Prompt>& prompts) {
  HeatmapUnit unit;
  unit.prompts.resize(prompts.size());
  const TokenizedSlice slice =
      tokenize_slice(model, prompts, [&](size_t i, std::string reason) { unit.prompts[i].failure = std::move(reason); });
  const std::vector<Window> windows = all_windows(job.heatmaps);
  std::vector<ReplayRequest> requests;
  for (const TokenizedPrompt& prompt : slice.prompts) {
    ReplayRequest& request = requests.emplace_back(ReplayRequest{prompt.ids, prompt.answer, {}});
    const std::vector<int> last = positions_of(TokenRole::kLast, prompt);
    for (int token = 0; token < static_cast<int>(prompt.ids.size()); ++token) request.cuts.push_back({last, {token}, {}, windows});
  }
  const std::vector<ReplayResult> results = model.replay(requests);
  for (size_t k = 0; k < results.size(); ++k)
    unit.prompts[slice.index[k]] = record(model, job, slice.prompts[k], results[k]);
  return unit;
}

}  // namespace factflow
