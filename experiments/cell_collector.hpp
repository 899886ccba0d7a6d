// Cells of a model (experiments/cell_arrays.hpp) out of what is found about its prompts, which come
// in any order and may be missing: what the array makers of several kinds have in common.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "experiments/cell_arrays.hpp"
#include "experiments/experiment.hpp"

namespace factflow {

// One item's numbers of one prompt: for each start of its window sizes, one size after the other.
struct ItemCells {
  std::int64_t touched = 0;  // CellAxes::blocked
  const std::vector<float>& probability;
  const std::vector<std::int32_t>&rank, &tied;
  // Null: the kind stores none.
  const std::vector<float>* log_change = nullptr;
  const std::vector<std::int32_t>*blocked_edges = nullptr, *rerouted = nullptr;
};

// What a kind stores of its cells beside the answer.
struct StoredCells {
  bool log_changes = false, blocked_edges = false, rerouted = false;
};

class CellCollector {
 public:
  // `items`: names of those of the kind's items that have cells, by their numbers. Both others
  // outlive the collector.
  CellCollector(const std::map<std::uint32_t, std::string>& items,
                const std::vector<WindowSeries>& series, const Subjects& subjects,
                StoredCells stored);

  bool empty() const { return axes_.items.empty(); }
  bool holds(std::uint32_t item) const { return places_.contains(item); }
  std::size_t row_of(std::uint32_t prompt) const { return rows_.at(prompt); }  // on the axis

  void add(std::uint32_t prompt, const AskedItem& asked, const ItemCells& found);
  // Of those items that have cells.
  void add_failed(std::uint32_t prompt, const Asked& asked);

  const CellAxes& axes() const { return axes_; }
  // A group for each window series.
  void add_windows(const CellNames& names, std::vector<ArrayGroup>& groups) const;

 private:
  void add_window(const WindowSeries& series);
  std::vector<std::int32_t> asked_for(std::uint32_t series) const;
  std::size_t cell_of(std::uint32_t item, std::uint32_t prompt) const {
    return places_.at(item) * axes_.prompts.size() + rows_.at(prompt);
  }

  const Subjects& subjects_;
  StoredCells stored_;
  std::map<std::uint32_t, std::size_t> places_;  // on the axis, by item
  std::map<std::uint32_t, std::size_t> rows_;    // on the axis, by prompt
  CellAxes axes_;
  std::vector<CellWindow> windows_;
};

}  // namespace factflow
