#include "experiments/sweep/knockout_arrays.hpp"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "experiments/stored_arrays.hpp"

namespace factflow {
namespace {

using hdf5::Group;

ArrayAxis edge_axis(const KnockoutAxes& axes) {
  return {"edge",
          axes.edges,
          {"1", "blocked flow: sources->targets, then /channels unless all channels lose it"}};
}
ArrayAxis prompt_axis(const KnockoutAxes& axes) {
  return {"prompt", axes.prompts, {"1", "id of the prompt in the dataset"}};
}
ArrayAxis set_axis(const KnockoutAxes& axes) {
  return {"set", axes.sets, {"1", "name of a set of prompts, the main one first"}};
}

KnockoutAxes read_axes(const Group& group) {
  KnockoutAxes axes;
  axes.edges = group.read_axis<std::string>("edge");
  check_unique(group, "edge", axes.edges);
  axes.prompts = group.read_axis<std::int64_t>("prompt");
  axes.blocked = group.read<std::int64_t>("edges", {axes.edges.size(), axes.prompts.size()});
  if (!group.has("set")) return axes;
  axes.sets = group.read_axis<std::string>("set");
  check_unique(group, "set", axes.sets);
  axes.members = group.read<std::int32_t>("members", {axes.sets.size(), axes.prompts.size()});
  return axes;
}

// [set, edge] what was asked for at one window size; without sets, everything as one row.
std::vector<std::int32_t> read_asked(const Group& knockout, std::int64_t window,
                                     const KnockoutAxes& axes) {
  if (axes.sets.empty()) return std::vector<std::int32_t>(axes.edges.size(), 1);
  return knockout.open_group(fmt::format("window_{}", window))
      .read<std::int32_t>("asked", {axes.sets.size(), axes.edges.size()});
}

// The rows of one set of prompts: indices into the axes of all.
struct Part {
  std::vector<std::size_t> edges, prompts;
};

void check_set(const Group& knockout, const KnockoutAxes& all, std::size_t set) {
  if (set >= all.sets.size())
    inconsistent(knockout, "set", fmt::format("expected more than {} sets of prompts", set));
}

Part part_of(const Group& knockout, const KnockoutAxes& all, std::size_t set) {
  check_set(knockout, all, set);
  Part part;
  const std::size_t prompts = all.prompts.size(), edges = all.edges.size();
  for (std::size_t p = 0; p < prompts; ++p)
    if (all.members[set * prompts + p] != 0) part.prompts.push_back(p);
  std::set<std::size_t> asked;
  for (const std::int64_t window : numbered(knockout, "window_")) {
    const std::vector<std::int32_t> here = read_asked(knockout, window, all);
    for (std::size_t e = 0; e < edges; ++e)
      if (here[set * edges + e] != 0) asked.insert(e);
  }
  part.edges.assign(asked.begin(), asked.end());
  return part;
}

// values: [edge, prompt, start] with `prompts` and `starts`.
template <typename T>
std::vector<T> cells_of(const std::vector<T>& values, const Part& part, std::size_t prompts,
                        std::size_t starts) {
  std::vector<T> cells;
  cells.reserve(part.edges.size() * part.prompts.size() * starts);
  for (const std::size_t edge : part.edges)
    for (const std::size_t prompt : part.prompts) {
      const auto first =
          values.begin() + static_cast<std::ptrdiff_t>((edge * prompts + prompt) * starts);
      cells.insert(cells.end(), first, first + static_cast<std::ptrdiff_t>(starts));
    }
  return cells;
}

// Leaves of all cells those of one set: what was asked of another set's prompts becomes NaN.
void keep_part(KnockoutWindow& window, const Part& part, std::size_t set, const KnockoutAxes& all) {
  const std::size_t starts = window.starts.size(), row = part.prompts.size() * starts;
  window.probability = cells_of(window.probability, part, all.prompts.size(), starts);
  window.rank = cells_of(window.rank, part, all.prompts.size(), starts);
  if (!window.tied.empty()) window.tied = cells_of(window.tied, part, all.prompts.size(), starts);
  std::vector<std::int32_t> asked;
  for (const std::size_t edge : part.edges) {
    const auto begin = static_cast<std::ptrdiff_t>(asked.size() * row);
    asked.push_back(window.asked[set * all.edges.size() + edge]);
    if (asked.back() != 0) continue;
    std::fill_n(window.probability.begin() + begin, row, std::numeric_limits<float>::quiet_NaN());
    std::fill_n(window.rank.begin() + begin, row, 0);
    if (!window.tied.empty()) std::fill_n(window.tied.begin() + begin, row, 0);
  }
  window.asked = std::move(asked);
}

}  // namespace

ArrayGroup arrays_of(const KnockoutAxes& axes) {
  ArrayGroup group{"knockout"};
  group.axes = {edge_axis(axes), prompt_axis(axes)};
  group.arrays.push_back(
      {"edges",
       {"edge", "prompt"},
       axes.blocked,
       {"1",
        "blocked (target, source) token pairs in one layer; 0 = the prompt has no such edge, "
        "-1 = not asked for, not computed yet, or failed"}});
  if (axes.sets.empty()) return group;
  group.axes.push_back(set_axis(axes));
  group.arrays.push_back(
      {"members", {"set", "prompt"}, axes.members, {"1", "1 = the prompt belongs to the set"}});
  return group;
}

// The axes are repeated, so that the group opens with its coordinates by itself.
ArrayGroup arrays_of(const KnockoutAxes& axes, const KnockoutWindow& window) {
  ArrayGroup group{fmt::format("knockout/window_{}", window.window)};
  group.attributes = {{"window", window.window}, {"placement", window.placement}};
  group.axes = {edge_axis(axes), prompt_axis(axes), start_axis(window.placement, window.starts)};
  if (!axes.sets.empty()) {
    group.axes.push_back(set_axis(axes));
    group.arrays.push_back(
        {"asked",
         {"set", "edge"},
         window.asked,
         {"1", "1 = a sweep asked for this edge of the set's prompts at this window size"}});
  }
  const auto cells = [&](const char* name, const auto& values, const char* description) {
    group.arrays.push_back({name, {"edge", "prompt", "start"}, values, {"1", description}});
  };
  cells("probability", window.probability,
        "probability of the answer's token with the edge blocked; NaN = not computed or no "
        "such edge");
  cells("rank", window.rank,
        "1 + number of other tokens that are at least as likely with the edge blocked; 0 = not "
        "computed or no such edge");
  if (!window.tied.empty())
    cells("tied", window.tied, "number of other tokens that are exactly as likely as the answer");
  return group;
}

std::vector<std::string> prompt_sets(const ResultsReader& reader, const std::string& model) {
  const Group group = reader.arrays_of(model).open_group("knockout");
  return group.has("set") ? group.read_axis<std::string>("set") : std::vector<std::string>{};
}

std::vector<std::int64_t> knockout_windows(const ResultsReader& reader, const std::string& model,
                                           std::size_t set) {
  const Group group = reader.arrays_of(model);
  if (!group.has("knockout")) return {};
  const Group knockout = group.open_group("knockout");
  std::vector<std::int64_t> windows = numbered(knockout, "window_");
  if (set == kAllPrompts) return windows;
  const KnockoutAxes all = read_axes(knockout);
  if (all.sets.empty()) return windows;
  check_set(knockout, all, set);
  std::erase_if(windows, [&](std::int64_t size) {
    const std::vector<std::int32_t> asked = read_asked(knockout, size, all);
    const auto row = asked.begin() + static_cast<std::ptrdiff_t>(set * all.edges.size());
    const auto end = row + static_cast<std::ptrdiff_t>(all.edges.size());
    return std::find(row, end, 1) == end;
  });
  return windows;
}

KnockoutAxes knockout_axes(const ResultsReader& reader, const std::string& model, std::size_t set) {
  const Group group = reader.arrays_of(model).open_group("knockout");
  const KnockoutAxes all = read_axes(group);
  reader.check_prompts(group, all.prompts);
  if (all.sets.empty() || set == kAllPrompts) return all;
  const Part part = part_of(group, all, set);
  KnockoutAxes axes;
  for (const std::size_t edge : part.edges) axes.edges.push_back(all.edges[edge]);
  for (const std::size_t prompt : part.prompts) axes.prompts.push_back(all.prompts[prompt]);
  axes.blocked = cells_of(all.blocked, part, all.prompts.size(), 1);
  return axes;
}

KnockoutWindow knockout_window(const ResultsReader& reader, const std::string& model,
                               std::int64_t window, std::size_t set) {
  const ModelInfo& about = reader.model(model);
  const Group knockout = reader.arrays_of(model).open_group("knockout");
  const Group group = knockout.open_group(fmt::format("window_{}", window));
  const KnockoutAxes all = read_axes(knockout);
  KnockoutWindow result;
  result.window = read_window_size(group, window);
  result.placement = read_placement(group);
  result.starts = read_starts(group, about);
  const hdf5::Shape shape{all.edges.size(), all.prompts.size(), result.starts.size()};
  read_answers(group, shape, result);
  result.asked = read_asked(knockout, window, all);
  if (all.sets.empty() || set == kAllPrompts) return result;
  keep_part(result, part_of(knockout, all, set), set, all);
  return result;
}

}  // namespace factflow
