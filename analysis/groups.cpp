#include "analysis/groups.hpp"

#include <map>
#include <utility>

namespace factflow {
namespace {

// Sorts numbers by value and texts by letters.
using Key = std::pair<std::int64_t, std::string>;

Key key_of(const ModelData& model, const PromptTable& prompts, std::size_t prompt,
           Grouping grouping) {
  if (grouping == Grouping::kRelation) return {0, prompts.relation[model.prompt_row[prompt]]};
  const std::size_t row = model.evaluation_row[prompt];
  const EvaluationResult& clean = model.evaluation;
  const std::int64_t tokens = grouping == Grouping::kSubjectLength
                                  ? std::int64_t{clean.subject_end[row]} - clean.subject_begin[row]
                                  : std::int64_t{clean.token_count[row]} - clean.subject_end[row];
  return {tokens, std::to_string(tokens)};
}

// Mean over `prompts` at every start; empty without prompts.
std::vector<double> mean_curve(const WindowData& window, std::size_t edge,
                               const std::vector<std::size_t>& prompts) {
  std::vector<double> curve(prompts.empty() ? 0 : window.starts());
  for (std::size_t start = 0; start < curve.size(); ++start) {
    for (const std::size_t prompt : prompts) curve[start] += window.change(edge, prompt, start);
    curve[start] /= static_cast<double>(prompts.size());
  }
  return curve;
}

GroupEffect measure(const WindowData& window, std::size_t edge, const std::string& name,
                    const std::vector<std::size_t>& members, std::size_t common, double level) {
  const std::vector<double> curve = mean_curve(window, edge, members);
  const std::size_t own = index_of_minimum(curve);
  std::vector<double> changes, logs;
  std::vector<std::size_t> facts;
  for (const std::size_t prompt : members) {
    changes.push_back(window.change(edge, prompt, common));
    logs.push_back(window.log_change(edge, prompt, common));
    facts.push_back(window.model->fact[prompt]);
  }
  GroupEffect effect;
  effect.model = window.model->info.name;
  effect.edge = window.model->edges[edge];
  effect.window = window.cells.window;
  effect.group = name;
  effect.n = members.size();
  effect.facts = count_clusters(facts);
  effect.common_start = window.cells.starts[common];
  effect.common_change = curve[common];
  effect.common_interval = t_interval(changes, facts, level);
  effect.common_median = median(std::move(changes));
  effect.common_log = mean(logs);
  effect.own_start = window.cells.starts[own];
  effect.own_depth = window.depth(own);
  effect.own_change = curve[own];
  return effect;
}

}  // namespace

std::vector<GroupEffect> group_effects(const WindowData& window, const PromptTable& prompts,
                                       Grouping grouping, double level) {
  std::vector<GroupEffect> effects;
  for (const std::size_t edge : window.edges) {
    const std::vector<std::size_t> complete = window.complete_prompts(edge);
    const std::vector<double> all = mean_curve(window, edge, complete);
    const std::size_t common = index_of_minimum(all);
    if (common == all.size()) continue;
    std::map<Key, std::vector<std::size_t>> groups;
    for (const std::size_t prompt : complete)
      groups[key_of(*window.model, prompts, prompt, grouping)].push_back(prompt);
    for (const auto& [key, members] : groups)
      effects.push_back(measure(window, edge, key.second, members, common, level));
  }
  return effects;
}

}  // namespace factflow
