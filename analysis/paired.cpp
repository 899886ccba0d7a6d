#include "analysis/paired.hpp"

#include <unordered_map>
#include <utility>

namespace factflow {
namespace {

std::vector<double> depths_of(const WindowData& window) {
  std::vector<double> depths(window.starts());
  for (std::size_t start = 0; start < depths.size(); ++start) depths[start] = window.depth(start);
  return depths;
}

// Indices (in first, in second) of the prompts that are valid at every start in both.
std::vector<std::pair<std::size_t, std::size_t>> shared_prompts(const WindowData& first,
                                                                std::size_t first_edge,
                                                                const WindowData& second,
                                                                std::size_t second_edge) {
  std::unordered_map<std::int64_t, std::size_t> by_id;
  for (const std::size_t prompt : second.complete_prompts(second_edge))
    by_id.emplace(second.model->axes.prompts[prompt], prompt);
  std::vector<std::pair<std::size_t, std::size_t>> shared;
  for (const std::size_t prompt : first.complete_prompts(first_edge))
    if (const auto found = by_id.find(first.model->axes.prompts[prompt]); found != by_id.end())
      shared.emplace_back(prompt, found->second);
  return shared;
}

// What is measured at every start of each shared prompt: [prompt, start].
struct Measured {
  std::vector<double> depths, changes, logs;

  Measured(const WindowData& window, std::size_t edge, const std::vector<std::size_t>& prompts)
      : depths(depths_of(window)) {
    for (const std::size_t prompt : prompts)
      for (std::size_t start = 0; start < window.starts(); ++start) {
        changes.push_back(window.change(edge, prompt, start));
        logs.push_back(window.log_change(edge, prompt, start));
      }
  }
  double change_at(std::size_t row, double depth) const {
    return interpolate(depths, &changes[row * depths.size()], depth);
  }
  double log_at(std::size_t row, double depth) const {
    return interpolate(depths, &logs[row * depths.size()], depth);
  }
};

void compare_edge(const WindowData& first, std::size_t first_edge, const WindowData& second,
                  std::size_t second_edge, double level,
                  std::vector<PairedDifference>& differences) {
  const auto shared = shared_prompts(first, first_edge, second, second_edge);
  if (shared.empty() || first.starts() == 0 || second.starts() == 0) return;
  std::vector<std::size_t> in_first, in_second, facts;
  for (const auto& [a, b] : shared) {
    in_first.push_back(a);
    in_second.push_back(b);
    facts.push_back(first.model->fact[a]);
  }
  const Measured one(first, first_edge, in_first), two(second, second_edge, in_second);
  const bool first_is_coarser = one.depths.size() <= two.depths.size();
  const std::vector<double>& grid = first_is_coarser ? one.depths : two.depths;
  const std::vector<double>& other = first_is_coarser ? two.depths : one.depths;
  for (const double depth : grid) {
    if (depth < other.front() || depth > other.back()) continue;
    std::vector<double> a, b, difference, log;
    for (std::size_t row = 0; row < shared.size(); ++row) {
      a.push_back(one.change_at(row, depth));
      b.push_back(two.change_at(row, depth));
      difference.push_back(a.back() - b.back());
      log.push_back(one.log_at(row, depth) - two.log_at(row, depth));
    }
    differences.push_back({first.model->info.name, second.model->info.name,
                           first.model->edges[first_edge].label, first.cells.window, depth,
                           shared.size(), count_clusters(facts), mean(a), mean(b), mean(difference),
                           t_interval(difference, facts, level), median(difference), mean(log),
                           t_test(difference, facts), 0});
  }
}

}  // namespace

std::vector<PairedDifference> paired_differences(const WindowData& first, const WindowData& second,
                                                 double level) {
  std::vector<PairedDifference> differences;
  for (const std::size_t a : first.edges)
    for (const std::size_t b : second.edges)
      if (first.model->edges[a].label == second.model->edges[b].label)
        compare_edge(first, a, second, b, level, differences);
  return differences;
}

void correct_together(std::vector<PairedDifference>& differences) {
  std::vector<double> p_values;
  for (const PairedDifference& pair : differences) p_values.push_back(pair.p_value);
  const std::vector<double> adjusted = holm(p_values);
  for (std::size_t i = 0; i < adjusted.size(); ++i) differences[i].p_holm = adjusted[i];
}

}  // namespace factflow
