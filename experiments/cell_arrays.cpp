#include "experiments/cell_arrays.hpp"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "experiments/stored_arrays.hpp"

namespace factflow {
namespace {

using hdf5::Group;

ArrayAxis item_axis(const CellNames& names, const CellAxes& axes) {
  return {names.item, axes.items, {"1", names.item_means}};
}
ArrayAxis prompt_axis(const CellAxes& axes) {
  return {"prompt", axes.prompts, {"1", "id of the prompt in the dataset"}};
}
ArrayAxis set_axis(const CellAxes& axes) {
  return {"set", axes.sets, {"1", "name of a set of prompts, the main one first"}};
}

CellAxes read_axes(const CellNames& names, const Group& group) {
  CellAxes axes;
  axes.items = group.read_axis<std::string>(names.item);
  check_unique(group, names.item, axes.items);
  axes.prompts = group.read_axis<std::int64_t>("prompt");
  axes.blocked = group.read<std::int64_t>(names.size, {axes.items.size(), axes.prompts.size()});
  if (!group.has("set")) return axes;
  axes.sets = group.read_axis<std::string>("set");
  check_unique(group, "set", axes.sets);
  axes.members = group.read<std::int32_t>("members", {axes.sets.size(), axes.prompts.size()});
  return axes;
}

// [set, item] what was asked for at one window size; without sets, everything as one row.
std::vector<std::int32_t> read_asked(const Group& cells, std::int64_t window,
                                     const CellAxes& axes) {
  if (axes.sets.empty()) return std::vector<std::int32_t>(axes.items.size(), 1);
  return cells.open_group(fmt::format("window_{}", window))
      .read<std::int32_t>("asked", {axes.sets.size(), axes.items.size()});
}

// The cells of one set of prompts: indices into the axes of all.
struct Part {
  std::vector<std::size_t> items, prompts;
};

void check_set(const Group& cells, const CellAxes& all, std::size_t set) {
  if (set >= all.sets.size())
    inconsistent(cells, "set", fmt::format("expected more than {} sets of prompts", set));
}

Part part_of(const Group& cells, const CellAxes& all, std::size_t set) {
  check_set(cells, all, set);
  Part part;
  const std::size_t prompts = all.prompts.size(), items = all.items.size();
  for (std::size_t p = 0; p < prompts; ++p)
    if (all.members[set * prompts + p] != 0) part.prompts.push_back(p);
  std::set<std::size_t> asked;
  for (const std::int64_t window : numbered(cells, "window_")) {
    const std::vector<std::int32_t> here = read_asked(cells, window, all);
    for (std::size_t item = 0; item < items; ++item)
      if (here[set * items + item] != 0) asked.insert(item);
  }
  part.items.assign(asked.begin(), asked.end());
  return part;
}

// values: [item, prompt, start] with `prompts` and `starts`.
template <typename T>
std::vector<T> cells_of(const std::vector<T>& values, const Part& part, std::size_t prompts,
                        std::size_t starts) {
  std::vector<T> cells;
  cells.reserve(part.items.size() * part.prompts.size() * starts);
  for (const std::size_t item : part.items)
    for (const std::size_t prompt : part.prompts) {
      const auto first =
          values.begin() + static_cast<std::ptrdiff_t>((item * prompts + prompt) * starts);
      cells.insert(cells.end(), first, first + static_cast<std::ptrdiff_t>(starts));
    }
  return cells;
}

// Leaves of all cells those of one set: what was asked of another set's prompts becomes NaN.
void keep_part(CellWindow& window, const Part& part, std::size_t set, const CellAxes& all) {
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  const std::size_t starts = window.starts.size(), row = part.prompts.size() * starts;
  std::vector<std::int32_t> asked;
  for (const std::size_t item : part.items)
    asked.push_back(window.asked[set * all.items.size() + item]);
  const auto keep = [&](auto& values, auto nothing) {
    if (values.empty()) return;
    values = cells_of(values, part, all.prompts.size(), starts);
    for (std::size_t item = 0; item < asked.size(); ++item)
      if (asked[item] == 0)
        std::fill_n(values.begin() + static_cast<std::ptrdiff_t>(item * row), row, nothing);
  };
  keep(window.probability, kNaN);
  keep(window.rank, 0);
  keep(window.tied, 0);
  keep(window.log_change, kNaN);
  keep(window.blocked_edges, kNotCounted);
  keep(window.rerouted, kNotCounted);
  window.asked = std::move(asked);
}

}  // namespace

ArrayGroup arrays_of(const CellNames& names, const CellAxes& axes) {
  ArrayGroup group{names.group};
  group.axes = {item_axis(names, axes), prompt_axis(axes)};
  group.arrays.push_back(
      {names.size,
       {names.item, "prompt"},
       axes.blocked,
       {"1", names.size_means + ", -1 = not computed yet, -2 = failed, -3 = not asked for"}});
  if (axes.sets.empty()) return group;
  group.axes.push_back(set_axis(axes));
  group.arrays.push_back(
      {"members", {"set", "prompt"}, axes.members, {"1", "1 = the prompt belongs to the set"}});
  return group;
}

// The axes are repeated, so that the group opens with its coordinates by itself.
ArrayGroup arrays_of(const CellNames& names, const CellAxes& axes, const CellWindow& window) {
  ArrayGroup group{fmt::format("{}/window_{}", names.group, window.window)};
  group.attributes = {{"window", window.window}, {"placement", window.placement}};
  group.axes = {item_axis(names, axes), prompt_axis(axes),
                start_axis(window.placement, window.starts)};
  if (!axes.sets.empty()) {
    group.axes.push_back(set_axis(axes));
    group.arrays.push_back(
        {"asked",
         {"set", names.item},
         window.asked,
         {"1", fmt::format("1 = a {} asked for this {} of the set's prompts at this window size",
                           names.asking, names.item)}});
  }
  const auto cells = [&](const char* name, const auto& values, const std::string& description) {
    group.arrays.push_back({name, {names.item, "prompt", "start"}, values, {"1", description}});
  };
  cells("probability", window.probability,
        fmt::format("probability of the answer's token {}; NaN = not computed or {}", names.done,
                    names.nothing));
  cells("rank", window.rank,
        fmt::format("1 + number of other tokens that are at least as likely {}; 0 = not computed "
                    "or {}",
                    names.done, names.nothing));
  if (!window.tied.empty())
    cells("tied", window.tied, "number of other tokens that are exactly as likely as the answer");
  if (!window.log_change.empty())
    cells("log_change", window.log_change,
          "natural logarithm of the answer's probability, less that of the clean run");
  if (!window.blocked_edges.empty())
    cells("blocked_edges", window.blocked_edges,
          "(target, source) pairs that lost their edge, summed over the layers of the window and "
          "their mixers; 0 = no layer of the window has such an edge, -1 = not computed or failed");
  if (!window.rerouted.empty())
    cells("rerouted", window.rerouted,
          "layers in which some replayed token goes to other experts than in the clean run; -1 = "
          "not computed or failed");
  return group;
}

std::vector<std::string> prompt_sets(const CellNames& names, const ResultsReader& reader,
                                     const std::string& model) {
  const Group group = reader.arrays_of(model).open_group(names.group);
  return group.has("set") ? group.read_axis<std::string>("set") : std::vector<std::string>{};
}

std::vector<std::int64_t> cell_windows(const CellNames& names, const ResultsReader& reader,
                                       const std::string& model, std::size_t set) {
  const Group group = reader.arrays_of(model);
  if (!group.has(names.group)) return {};
  const Group cells = group.open_group(names.group);
  std::vector<std::int64_t> windows = numbered(cells, "window_");
  if (set == kAllPrompts) return windows;
  const CellAxes all = read_axes(names, cells);
  if (all.sets.empty()) return windows;
  check_set(cells, all, set);
  std::erase_if(windows, [&](std::int64_t size) {
    const std::vector<std::int32_t> asked = read_asked(cells, size, all);
    const auto row = asked.begin() + static_cast<std::ptrdiff_t>(set * all.items.size());
    const auto end = row + static_cast<std::ptrdiff_t>(all.items.size());
    return std::find(row, end, 1) == end;
  });
  return windows;
}

CellAxes cell_axes(const CellNames& names, const ResultsReader& reader, const std::string& model,
                   std::size_t set) {
  const Group group = reader.arrays_of(model).open_group(names.group);
  const CellAxes all = read_axes(names, group);
  reader.check_prompts(group, all.prompts);
  if (all.sets.empty() || set == kAllPrompts) return all;
  const Part part = part_of(group, all, set);
  CellAxes axes;
  for (const std::size_t item : part.items) axes.items.push_back(all.items[item]);
  for (const std::size_t prompt : part.prompts) axes.prompts.push_back(all.prompts[prompt]);
  axes.blocked = cells_of(all.blocked, part, all.prompts.size(), 1);
  return axes;
}

CellWindow cell_window(const CellNames& names, const ResultsReader& reader,
                       const std::string& model, std::int64_t window, std::size_t set) {
  const ModelInfo& about = reader.model(model);
  const Group cells = reader.arrays_of(model).open_group(names.group);
  const Group group = cells.open_group(fmt::format("window_{}", window));
  const CellAxes all = read_axes(names, cells);
  CellWindow result;
  result.window = read_window_size(group, window);
  result.placement = read_placement(group);
  result.starts = read_starts(group, about);
  const hdf5::Shape shape{all.items.size(), all.prompts.size(), result.starts.size()};
  read_answers(group, shape, result);
  if (group.has("log_change")) result.log_change = group.read<float>("log_change", shape);
  result.blocked_edges = read_counts(group, "blocked_edges", shape);
  result.rerouted = read_counts(group, "rerouted", shape);
  result.asked = read_asked(cells, window, all);
  if (all.sets.empty() || set == kAllPrompts) return result;
  keep_part(result, part_of(cells, all, set), set, all);
  return result;
}

}  // namespace factflow
