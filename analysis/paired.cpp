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

// Changes of each shared prompt at every start: [prompt, start].
std::vector<double> changes_of(const WindowData& window, std::size_t edge,
                               const std::vector<std::size_t>& prompts) {
  std::vector<double> changes;
  changes.reserve(prompts.size() * window.starts());
  for (const std::size_t prompt : prompts)
    for (std::size_t start = 0; start < window.starts(); ++start)
      changes.push_back(window.change(edge, prompt, start));
  return changes;
}

void compare_edge(const WindowData& first, std::size_t first_edge, const WindowData& second,
                  std::size_t second_edge, double level,
                  std::vector<PairedDifference>& differences) {
  const auto shared = shared_prompts(first, first_edge, second, second_edge);
  const std::vector<double> first_depths = depths_of(first), second_depths = depths_of(second);
  if (shared.empty() || first_depths.empty() || second_depths.empty()) return;
  std::vector<std::size_t> in_first, in_second;
  for (const auto& [a, b] : shared) {
    in_first.push_back(a);
    in_second.push_back(b);
  }
  const std::vector<double> first_changes = changes_of(first, first_edge, in_first);
  const std::vector<double> second_changes = changes_of(second, second_edge, in_second);
  const bool first_is_coarser = first_depths.size() <= second_depths.size();
  const std::vector<double>& grid = first_is_coarser ? first_depths : second_depths;
  const std::vector<double>& other = first_is_coarser ? second_depths : first_depths;
  const std::size_t begin = differences.size();
  std::vector<double> p_values;
  for (const double depth : grid) {
    if (depth < other.front() || depth > other.back()) continue;
    std::vector<double> a, b, difference;
    for (std::size_t row = 0; row < shared.size(); ++row) {
      a.push_back(interpolate(first_depths, &first_changes[row * first_depths.size()], depth));
      b.push_back(interpolate(second_depths, &second_changes[row * second_depths.size()], depth));
      difference.push_back(a.back() - b.back());
    }
    p_values.push_back(t_test(difference));
    differences.push_back({first.model->info.name, second.model->info.name,
                           first.model->edges[first_edge].label, first.cells.window, depth,
                           shared.size(), mean(a), mean(b), mean(difference),
                           t_interval(difference, level), p_values.back(), 0});
  }
  const std::vector<double> adjusted = holm(p_values);
  for (std::size_t i = 0; i < adjusted.size(); ++i) differences[begin + i].p_holm = adjusted[i];
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

}  // namespace factflow
