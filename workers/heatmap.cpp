#include <cmath>

#include "workers/experiments.hpp"

namespace factflow {
namespace {

PromptHeatmap record(const LoadedModel& model, const ModelJob& job, const Unit& unit,
                     const TokenizedPrompt& prompt, const ReplayResult& result) {
  PromptHeatmap heatmap;
  if (result.clean.rank == kernels::kNoRank) heatmap.failure = kNotFinite;
  for (const int id : prompt.ids) {
    heatmap.tokens.push_back(model.tokenizer().token_text(id));
    heatmap.token_ids.push_back(id);
  }
  size_t first = 0;
  for (const std::uint32_t asked : unit.heatmaps) {
    const WindowSeries& series = job.heatmaps.at(asked);
    std::vector<float>& probability = heatmap.probability.emplace_back();
    for (size_t token = 0; token < prompt.ids.size(); ++token) {
      for (size_t i = 0; i < series.windows.size(); ++i) {
        const Answer& answer = result.knockouts[token][first + i];
        if (answer.rank == kernels::kNoRank) heatmap.failure = kNotFinite;
        probability.push_back(static_cast<float>(std::exp(answer.log_probability)));
      }
    }
    first += series.windows.size();
  }
  return heatmap;
}

}  // namespace

HeatmapUnit draw_heatmaps(LoadedModel& model, const ModelJob& job, const PreparedUnit& prepared) {
  HeatmapUnit done;
  done.prompts = failures_of<PromptHeatmap>(prepared);
  std::vector<ReplayRequest> requests;
  for (const TokenizedPrompt& prompt : prepared.prompts)
    requests.push_back(request_of(job, prepared.unit, prompt));
  const std::vector<ReplayResult> results = model.replay(requests);
  for (size_t k = 0; k < results.size(); ++k)
    done.prompts[prepared.index[k]] =
        record(model, job, prepared.unit, prepared.prompts[k], results[k]);
  return done;
}

}  // namespace factflow
