#include "analysis/part_cells.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "analysis/cell_prompts.hpp"

namespace factflow {
namespace {

// "each quantile of 12" of "quantile 3/12", "each random of 12 seed 1" of "random 3/12 seed 1",
// "each head" of "head 3".
std::string division_of(const std::string& part) {
  if (part.starts_with("head ")) return "each head";
  const std::size_t space = part.find(' '), slash = part.find('/');
  if (space == std::string::npos || slash == std::string::npos) return "each " + part;
  return fmt::format("each {} of {}", part.substr(0, space), part.substr(slash + 1));
}

}  // namespace

PartPrompts part_prompts(const RunData& run, const ModelData& model,
                         const std::vector<std::int64_t>& ids, const CleanLimits& limits) {
  PartPrompts prompts;
  for (const CellPrompt& prompt : cell_prompts(run, model, ids, limits)) {
    prompts.fact.push_back(prompt.fact);
    prompts.relation.push_back(run.prompts.relation[prompt.row]);
    prompts.used.push_back(prompt.used);
  }
  return prompts;
}

std::vector<PartGroup> part_groups(const std::vector<std::string>& items) {
  std::vector<PartGroup> groups;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const EdgeName name = parse_edge(items[i]);
    if (name.whole()) continue;
    const std::string division = division_of(name.channels);
    const auto whole = std::find(items.begin(), items.end(), name.flow());
    if (whole == items.end()) continue;
    auto found = std::find_if(groups.begin(), groups.end(), [&](const PartGroup& group) {
      return group.edge == name.flow() && group.division == division;
    });
    if (found == groups.end()) {
      groups.push_back(
          {name.flow(), division, static_cast<std::size_t>(whole - items.begin()), {}});
      found = groups.end() - 1;
    }
    found->parts.push_back(i);
  }
  return groups;
}

}  // namespace factflow
