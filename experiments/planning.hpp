// What the plans and the work of several kinds have in common.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "experiments/experiment.hpp"

namespace factflow {

// The place of an item in a list, to which it is added if need be: how plans number their items.
template <class Item>
std::uint32_t place_in(std::vector<Item>& list, const Item& item) {
  const auto found = std::find(list.begin(), list.end(), item);
  const auto place = static_cast<std::uint32_t>(found - list.begin());
  if (found == list.end()) list.push_back(item);
  return place;
}

// The sizes of all windows that are asked for.
inline std::set<int> asked_sizes(const std::vector<WindowSeries>& series, const Asked& asked) {
  std::set<int> sizes;
  for (const AskedItem& one : asked)
    for (const std::uint32_t place : one.series) sizes.insert(series.at(place).size);
  return sizes;
}

// ExperimentKind::plan() by a Planner, made of a model and the number of entries, which is given
// each entry (a Config) for the model as add(place, entry) and has take(), the plan of the Work.
template <class Config, class Planner, class Work>
PlannedWork planned_by(const Entries& entries, const ModelToPlan& model) {
  Planner planner(model, entries.size());
  PlannedWork planned;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto& entry = static_cast<const Config&>(*entries[i]);
    planned.asked.push_back(is_for(entry, model.name) ? planner.add(i, entry) : Asked{});
  }
  planned.work = std::make_shared<Work>(planner.take());
  return planned;
}

}  // namespace factflow
