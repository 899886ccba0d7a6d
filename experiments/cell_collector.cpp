#include "experiments/cell_collector.hpp"

#include <algorithm>
#include <limits>

namespace factflow {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

}  // namespace

CellCollector::CellCollector(const std::map<std::uint32_t, std::string>& items,
                             const std::vector<WindowSeries>& series, const Subjects& subjects,
                             StoredCells stored)
    : subjects_(subjects), stored_(stored) {
  for (const auto& [item, name] : items) {
    places_[item] = axes_.items.size();
    axes_.items.push_back(name);
  }
  for (const std::uint32_t prompt : subjects.asked) {
    rows_[prompt] = axes_.prompts.size();
    axes_.prompts.push_back(subjects.prompts[prompt].id);
  }
  axes_.blocked.assign(axes_.items.size() * axes_.prompts.size(),
                       subjects.parts.empty() ? kNotKnown : kNotAsked);
  for (const Subjects::Part& part : subjects.parts)
    for (const AskedItem& one : part.asked)
      for (const std::uint32_t prompt : part.prompts)
        if (holds(one.item)) axes_.blocked[cell_of(one.item, prompt)] = kNotKnown;
  for (const Subjects::Set& set : subjects.sets) {
    axes_.sets.push_back(set.name);
    for (const std::uint32_t prompt : subjects.asked)
      axes_.members.push_back(
          std::binary_search(set.members.begin(), set.members.end(), prompt) ? 1 : 0);
  }
  for (const WindowSeries& one : series) add_window(one);
}

void CellCollector::add(std::uint32_t prompt, const AskedItem& asked, const CellValues& found) {
  const std::size_t cell = cell_of(asked.item, prompt);
  axes_.blocked[cell] = found.touched;
  std::ptrdiff_t from = 0;
  for (const std::uint32_t series : asked.series) {
    CellWindow& window = windows_.at(series);
    const auto starts = static_cast<std::ptrdiff_t>(window.starts.size());
    const auto to = static_cast<std::ptrdiff_t>(cell) * starts;
    const auto copy = [&](const auto& values, auto& cells) {
      std::copy_n(values.begin() + from, starts, cells.begin() + to);
    };
    copy(found.probability, window.probability);
    copy(found.rank, window.rank);
    copy(found.tied, window.tied);
    copy(found.blocked_edges, window.blocked_edges);
    if (stored_.log_changes) copy(found.log_change, window.log_change);
    if (stored_.rerouted) copy(found.rerouted, window.rerouted);
    from += starts;
  }
}

void CellCollector::add_failed(std::uint32_t prompt, const Asked& asked) {
  for (const AskedItem& one : asked)
    if (holds(one.item)) axes_.blocked[cell_of(one.item, prompt)] = kFailedPrompt;
}

void CellCollector::add_windows(const CellNames& names, std::vector<ArrayGroup>& groups) const {
  for (const CellWindow& window : windows_) groups.push_back(arrays_of(names, axes_, window));
}

void CellCollector::add_window(const WindowSeries& series) {
  const auto number = static_cast<std::uint32_t>(windows_.size());
  CellWindow& window = windows_.emplace_back();
  window.window = series.size;
  window.placement = to_string(series.placement);
  window.starts = series.starts;
  window.probability.assign(axes_.blocked.size() * series.starts.size(), kNaN);
  window.blocked_edges.assign(window.probability.size(), kNotCounted);
  if (stored_.log_changes) window.log_change = window.probability;
  if (stored_.rerouted) window.rerouted.assign(window.probability.size(), kNotCounted);
  window.rank.assign(window.probability.size(), 0);
  window.tied = window.rank;
  window.asked = asked_for(number);
}

// [set, item] what is asked of a window series: sets share prompts, so the cells do not say it.
std::vector<std::int32_t> CellCollector::asked_for(std::uint32_t series) const {
  const std::size_t items = axes_.items.size();
  std::vector<std::int32_t> asked(subjects_.sets.size() * items, 0);
  for (const Subjects::OfEntry& entry : subjects_.entries)
    for (const AskedItem& one : entry.asked)
      if (holds(one.item) &&
          std::find(one.series.begin(), one.series.end(), series) != one.series.end())
        asked[entry.set.value() * items + places_.at(one.item)] = 1;
  return asked;
}

}  // namespace factflow
