#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include <fmt/format.h>

#include "experiments/experiment.hpp"
#include "experiments/parts/parts_plan.hpp"
#include "experiments/parts/ranking.hpp"
#include "experiments/reach.hpp"

namespace factflow {
namespace {

constexpr std::size_t kPromptsTogether = 8;  // in the engine, at many rows each

// The sum over prompts of what the whole edge (first) and each part do in each window.
struct EffectSums {
  std::vector<std::vector<double>> log_change;  // [whole, parts][window]
  std::int64_t prompts = 0;
  void add(const ReplayResult& result) {
    const std::vector<Answer> answers = answers_in_order(result);
    std::size_t next = 0;
    for (std::vector<double>& of_item : log_change)
      for (double& sum : of_item)
        sum += answers[next++].log_probability - result.clean.log_probability;
    ++prompts;
  }
};

bool has_edge(const LoadedModel& model, const PartItem& edge, const TokenizedPrompt& prompt,
              const std::vector<Window>& windows) {
  return exists_somewhere(model.network().architecture(), positions_of(edge.to, prompt),
                          positions_of(edge.from, prompt), windows);
}

EffectSums effects_of(LoadedModel& model, const PartsPlan& plan, const PartItem& cumulation,
                      const std::vector<Window>& windows) {
  std::vector<const PartItem*> items = {&plan.items.at(cumulation.whole)};
  for (const std::uint32_t part : cumulation.parts) items.push_back(&plan.items.at(part));
  EffectSums right{std::vector(items.size(), std::vector<double>(windows.size(), 0)), 0};
  EffectSums all = right;
  const std::vector<TokenizedPrompt> prompts = model.tokenize_usable(plan.ordering);
  const DecayInPrompts* decay = plan.ranking.empty() ? nullptr : &decay_of(model, plan.ranking);
  for (std::size_t first = 0; first < prompts.size(); first += kPromptsTogether) {
    std::vector<ReplayRequest> requests;
    for (std::size_t i = first; i < std::min(first + kPromptsTogether, prompts.size()); ++i) {
      if (!has_edge(model, plan.items.at(cumulation.whole), prompts[i], windows)) continue;
      ReplayRequest request{prompts[i].ids, prompts[i].answer};
      for (const PartItem* item : items)
        add_series(plan, *item, {}, decay, prompts[i], windows, request);
      requests.push_back(std::move(request));
    }
    for (const ReplayResult& result : model.replay(requests)) {
      if (!is_finite(result)) continue;
      all.add(result);
      if (result.clean.rank == 1) right.add(result);
    }
  }
  return right.prompts > 0 ? right : all;
}

PartOrder make_order(LoadedModel& model, const PartsPlan& plan, const PartItem& cumulation,
                     const std::vector<Window>& windows) {
  const EffectSums sums = effects_of(model, plan, cumulation, windows);
  const std::vector<double>& whole = sums.log_change.front();
  PartOrder order;
  order.start =
      static_cast<std::uint32_t>(std::min_element(whole.begin(), whole.end()) - whole.begin());
  order.prompts = sums.prompts;
  std::vector<std::size_t> places(cumulation.parts.size());
  std::iota(places.begin(), places.end(), std::size_t{0});
  std::stable_sort(places.begin(), places.end(), [&](std::size_t a, std::size_t b) {
    return sums.log_change[1 + a][order.start] < sums.log_change[1 + b][order.start];
  });
  for (const std::size_t place : places) order.greedy.push_back(cumulation.parts[place]);
  for (const int place : random_order(static_cast<int>(cumulation.parts.size()), plan.seed))
    order.random.push_back(cumulation.parts[static_cast<std::size_t>(place)]);
  return order;
}

}  // namespace

void add_series(const PartsPlan& plan, const PartItem& edge,
                const std::vector<const EdgePart*>& parts, const DecayInPrompts* decay,
                const TokenizedPrompt& prompt, const std::vector<Window>& windows,
                ReplayRequest& request) {
  const std::vector<int> targets = positions_of(edge.to, prompt),
                         sources = positions_of(edge.from, prompt);
  std::vector<const EdgePart*> lost = parts;
  if (lost.empty()) lost.push_back(&edge.part);
  if (count_edges(targets, sources) == 0)
    request.series.emplace_back(std::vector<int>{}, std::vector<int>{}, ChannelSet{}, windows);
  else if (!lost.front()->happened)
    request.series.emplace_back(losing(lost, plan.what, targets, sources), windows);
  else
    for (const Window& window : windows)
      request.series.emplace_back(
          losing_in_layers(lost, plan.what, targets, sources, window, decay->mean), std::nullopt);
}

std::vector<Answer> answers_in_order(const ReplayResult& result) {
  std::vector<Answer> answers;
  for (const std::vector<Answer>& of_series : result.knockouts)
    answers.insert(answers.end(), of_series.begin(), of_series.end());
  return answers;
}

PartOrder order_of(LoadedModel& model, const PartsPlan& plan, const PartItem& cumulation,
                   std::uint32_t series) {
  const WindowSeries& windows = plan.series.at(series);
  std::string key = fmt::format("parts {} {} {} {}", cumulation.name, windows.size,
                                to_string(windows.placement), plan.seed);
  for (const Prompt& prompt : plan.ordering) key += fmt::format(" {}", prompt.id);
  return model.derived<PartOrder>(
      key, [&] { return make_order(model, plan, cumulation, windows.windows); });
}

}  // namespace factflow
