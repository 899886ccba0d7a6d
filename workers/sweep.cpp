#include <cmath>

#include "workers/experiments.hpp"

namespace factflow {
namespace {

PromptSweep record(std::vector<std::int64_t> blocked, const ReplayResult& result) {
  PromptSweep sweep;
  sweep.blocked = std::move(blocked);
  if (result.clean.rank == kernels::kNoRank) sweep.failure = kNotFinite;
  for (size_t edge = 0; edge < result.knockouts.size(); ++edge) {
    std::vector<float>& probability = sweep.probability.emplace_back();
    std::vector<std::int32_t>&rank = sweep.rank.emplace_back(), &tied = sweep.tied.emplace_back();
    for (const Answer& answer : result.knockouts[edge]) {
      if (answer.rank == kernels::kNoRank) sweep.failure = kNotFinite;
      if (answer.rank == 0) sweep.blocked[edge] = 0;  // an empty set of channels, say
      probability.push_back(static_cast<float>(std::exp(answer.log_probability)));
      rank.push_back(answer.rank);
      tied.push_back(answer.tied);
    }
  }
  return sweep;
}

}  // namespace

std::vector<Window> windows_of(const std::vector<WindowSeries>& series,
                               const std::vector<std::uint32_t>& asked) {
  std::vector<Window> windows;
  for (const std::uint32_t one : asked)
    windows.insert(windows.end(), series.at(one).windows.begin(), series.at(one).windows.end());
  return windows;
}

ReplayRequest request_of(const ModelJob& job, const Unit& unit, const TokenizedPrompt& prompt) {
  ReplayRequest request{prompt.ids, prompt.answer, {}};
  if (unit.stage == Stage::kSweep)
    for (const AskedEdge& asked : unit.edges) {
      const EdgeSpec& edge = job.edges.at(asked.edge);
      request.cuts.push_back({positions_of(edge.to, prompt), positions_of(edge.from, prompt),
                              edge.channels, windows_of(job.sweep, asked.series)});
    }
  if (unit.stage == Stage::kHeatmap) {
    const std::vector<Window> windows = windows_of(job.heatmaps, unit.heatmaps);
    const std::vector<int> last = positions_of(TokenRole::kLast, prompt);
    for (int token = 0; token < static_cast<int>(prompt.ids.size()); ++token)
      request.cuts.push_back({last, {token}, {}, windows});
  }
  return request;
}

SweepUnit sweep(LoadedModel& model, const ModelJob& job, const PreparedUnit& prepared) {
  SweepUnit done;
  done.prompts = failures_of<PromptSweep>(prepared);
  std::vector<ReplayRequest> requests;
  std::vector<std::vector<std::int64_t>> blocked;
  for (const TokenizedPrompt& prompt : prepared.prompts) {
    requests.push_back(request_of(job, prepared.unit, prompt));
    std::vector<std::int64_t>& pairs = blocked.emplace_back();
    for (const EdgeCut& cut : requests.back().cuts)
      pairs.push_back(count_edges(cut.targets, cut.sources));
  }
  const std::vector<ReplayResult> results = model.replay(requests);
  for (size_t k = 0; k < results.size(); ++k)
    done.prompts[prepared.index[k]] = record(std::move(blocked[k]), results[k]);
  return done;
}

}  // namespace factflow
