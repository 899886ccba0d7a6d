#include <cmath>

#include "workers/experiments.hpp"

namespace factflow {
namespace {

PromptSweep record(const ModelJob& job, std::vector<std::int64_t> blocked, const ReplayResult& result) {
  PromptSweep sweep;
  sweep.blocked = std::move(blocked);
  if (!std::isfinite(result.clean.log_probability)) sweep.failure = kNotFinite;
  size_t first = 0;  // of this series among the windows of a cut
  for (const WindowSeries& series : job.sweep) {
    std::vector<float>& probability = sweep.probability.emplace_back();
    std::vector<std::int32_t>& rank = sweep.rank.emplace_back();
    for (size_t edge = 0; edge < job.edges.size(); ++edge) {
      for (size_t i = 0; i < series.windows.size(); ++i) {
        const Answer& answer = result.knockouts[edge][first + i];
        if (answer.rank > 0 && !std::isfinite(answer.log_probability)) sweep.failure = kNotFinite;
        if (answer.rank == 0) sweep.blocked[edge] = 0;  // an empty set of channels, say
        probability.push_back(static_cast<float>(std::exp(answer.log_probability)));
        rank.push_back(answer.rank);
      }
    }
    first += series.windows.size();
  }
  return sweep;
}

}  // namespace

std::vector<Window> all_windows(const std::vector<WindowSeries>& series) {
  std::vector<Window> windows;
  for (const WindowSeries& one : series) windows.insert(windows.end(), one.windows.begin(), one.windows.end());
  return windows;
}

SweepUnit sweep(LoadedModel& model, const ModelJob& job, const std::vector<Prompt>& prompts) {
  SweepUnit unit;
  unit.prompts.resize(prompts.size());
  const TokenizedSlice slice =
      tokenize_slice(model, prompts, [&](size_t i, std::string reason) { unit.prompts[i].failure = std::move(reason); });
  const std::vector<Window> windows = all_windows(job.sweep);
  std::vector<ReplayRequest> requests;
  std::vector<std::vector<std::int64_t>> blocked;
  for (const TokenizedPrompt& prompt : slice.prompts) {
    ReplayRequest& request = requests.emplace_back(ReplayRequest{prompt.ids, prompt.answer, {}});
    std::vector<std::int64_t>& edges = blocked.emplace_back();
    for (const EdgeSpec& edge : job.edges) {
      request.cuts.push_back({positions_of(edge.to, prompt), positions_of(edge.from, prompt), edge.channels, windows});
      edges.push_back(count_edges(request.cuts.back().targets, request.cuts.back().sources));
    }
  }
  const std::vector<ReplayResult> results = model.replay(requests);
  for (size_t k = 0; k < results.size(); ++k) unit.prompts[slice.index[k]] = record(job, std::move(blocked[k]), results[k]);
  return unit;
}

}  // namespace factflow
