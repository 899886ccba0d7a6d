#include "analysis/sensitivity.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

namespace factflow {
namespace {

using EdgePairs = std::vector<std::pair<std::size_t, std::size_t>>;  // (in smaller, in larger)

EdgePairs shared_edges(const WindowData& smaller, const WindowData& larger) {
  EdgePairs pairs;
  const auto &a = smaller.model->edges, &b = larger.model->edges;
  for (const std::size_t i : smaller.edges)
    for (const std::size_t j : larger.edges)
      if (a[i].whole() && a[i].target == "last" && a[i].label == b[j].label)
        pairs.emplace_back(i, j);
  return pairs;
}

struct Sensitivity {
  double change = 0, log = 0;  // mean size; NaN unless the prompt is valid at every start
  std::size_t fact = 0;
};

Sensitivity sensitivity(const WindowData& window, std::size_t prompt,
                        const std::vector<std::size_t>& edges) {
  Sensitivity sum{0, 0, window.model->fact[prompt]};
  for (const std::size_t edge : edges) {
    double total = 0, logs = 0;
    for (std::size_t start = 0; start < window.starts(); ++start) {
      const double change = std::abs(window.change(edge, prompt, start));
      total += std::isnan(change) ? change : std::min(change, 100.0);
      logs += std::abs(window.log_change(edge, prompt, start));
    }
    sum.change += total / static_cast<double>(window.starts());
    sum.log += logs / static_cast<double>(window.starts());
  }
  sum.change /= static_cast<double>(edges.size());
  sum.log /= static_cast<double>(edges.size());
  return sum;
}

std::map<std::int64_t, Sensitivity> by_prompt(const WindowData& window,
                                              const std::vector<std::size_t>& edges) {
  std::map<std::int64_t, Sensitivity> values;
  for (std::size_t prompt = 0; prompt < window.model->axes.prompts.size(); ++prompt)
    if (const Sensitivity value = sensitivity(window, prompt, edges); !std::isnan(value.change))
      values.emplace(window.model->axes.prompts[prompt], value);
  return values;
}

std::optional<SensitivityPair> compare(const WindowData& smaller, const WindowData& larger,
                                       double level) {
  std::vector<std::size_t> in_smaller, in_larger;
  for (const auto& [a, b] : shared_edges(smaller, larger)) {
    in_smaller.push_back(a);
    in_larger.push_back(b);
  }
  if (in_smaller.empty() || smaller.starts() == 0 || larger.starts() == 0) return std::nullopt;
  const std::map<std::int64_t, Sensitivity> small = by_prompt(smaller, in_smaller),
                                            large = by_prompt(larger, in_larger);
  std::vector<double> a, b, difference, log;
  std::vector<std::size_t> facts;
  for (const auto& [id, value] : small)
    if (const auto found = large.find(id); found != large.end()) {
      a.push_back(value.change);
      b.push_back(found->second.change);
      difference.push_back(a.back() - b.back());
      log.push_back(value.log - found->second.log);
      facts.push_back(value.fact);
    }
  if (a.empty()) return std::nullopt;
  const ModelInfo &first = smaller.model->info, &second = larger.model->info;
  SensitivityPair pair;
  pair.family = first.family;
  pair.smaller = first.name;
  pair.larger = second.name;
  pair.size_ratio = static_cast<double>(second.parameters) / static_cast<double>(first.parameters);
  pair.window = smaller.cells.window;
  pair.edges = in_smaller.size();
  pair.n = a.size();
  pair.facts = count_clusters(facts);
  pair.smaller_value = mean(a);
  pair.larger_value = mean(b);
  pair.difference = mean(difference);
  pair.interval = t_interval(difference, facts, level);
  pair.p_value = t_test(difference, facts);
  pair.median = median(std::move(difference));
  pair.log = mean(log);
  return pair;
}

}  // namespace

std::vector<SensitivityPair> compare_sizes(const std::vector<WindowData>& windows, double level) {
  std::vector<std::string> families;
  for (const WindowData& window : windows)
    if (std::find(families.begin(), families.end(), window.model->info.family) == families.end())
      families.push_back(window.model->info.family);
  std::vector<SensitivityPair> pairs;
  for (const std::string& family : families) {
    const WindowData *smallest = nullptr, *largest = nullptr;
    for (const WindowData& window : windows) {
      const ModelInfo& info = window.model->info;
      if (info.family != family) continue;
      if (smallest == nullptr || info.parameters < smallest->model->info.parameters)
        smallest = &window;
      if (largest == nullptr || info.parameters > largest->model->info.parameters)
        largest = &window;
    }
    if (smallest->model->info.parameters == largest->model->info.parameters) continue;
    if (auto pair = compare(*smallest, *largest, level)) pairs.push_back(std::move(*pair));
  }
  std::vector<double> p_values;
  for (const SensitivityPair& pair : pairs) p_values.push_back(pair.p_value);
  const std::vector<double> adjusted = holm(p_values);
  for (std::size_t i = 0; i < pairs.size(); ++i) pairs[i].p_holm = adjusted[i];
  return pairs;
}

}  // namespace factflow
