// Cells of a model (experiments/cell_arrays.hpp) out of what is found about its prompts, which come
// in any order and may be missing: what the array makers of several kinds have in common.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "experiments/cell_arrays.hpp"
#include "experiments/cell_values.hpp"
#include "experiments/experiment.hpp"

namespace factflow {

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

  void add(std::uint32_t prompt, const AskedItem& asked, const CellValues& found);
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
