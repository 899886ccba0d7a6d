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

// NaN unless the prompt is valid at every start of these edges.
double sensitivity(const WindowData& window, std::size_t prompt,
                   const std::vector<std::size_t>& edges) {
  double sum = 0;
  for (const std::size_t edge : edges) {
    double total = 0;
    for (std::size_t start = 0; start < window.starts(); ++start) {
      const double change = std::abs(window.change(edge, prompt, start));
      total += std::isnan(change) ? change : std::min(change, 100.0);
    }
    sum += total / static_cast<double>(window.starts());
  }
  return sum / static_cast<double>(edges.size());
}

std::map<std::int64_t, double> by_prompt(const WindowData& window,
                                         const std::vector<std::size_t>& edges) {
  std::map<std::int64_t, double> values;
  for (std::size_t prompt = 0; prompt < window.model->axes.prompts.size(); ++prompt)
    if (const double value = sensitivity(window, prompt, edges); !std::isnan(value))
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
  const std::map<std::int64_t, double> small = by_prompt(smaller, in_smaller),
                                       large = by_prompt(larger, in_larger);
  std::vector<double> a, b, difference;
  for (const auto& [id, value] : small)
    if (const auto found = large.find(id); found != large.end()) {
      a.push_back(value);
      b.push_back(found->second);
      difference.push_back(value - found->second);
    }
  if (a.empty()) return std::nullopt;
  const ModelInfo& first = smaller.model->info;
  return SensitivityPair{first.family,
                         first.name,
                         larger.model->info.name,
                         smaller.cells.window,
                         in_smaller.size(),
                         a.size(),
                         mean(a),
                         mean(b),
                         mean(difference),
                         t_interval(difference, level),
                         t_test(difference)};
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
  return pairs;
}

}  // namespace factflow
