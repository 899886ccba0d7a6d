// The stored knockouts of parts of edges, as the analysis of them looks at them.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "analysis/fact_resamples.hpp"
#include "analysis/run_data.hpp"

namespace factflow {

// Prompts of the cells.
struct PartPrompts {
  std::vector<std::size_t> fact;  // numbered as they appear
  std::vector<std::string> relation;
  std::vector<bool> used;  // within the limits
};

PartPrompts part_prompts(const RunData& run, const ModelData& model,
                         const std::vector<std::int64_t>& ids, const CleanLimits& limits);

// The items of one edge and division: places on the axis.
struct PartGroup {
  std::string edge, division;
  std::size_t whole = 0;
  std::vector<std::size_t> parts;
};

std::vector<PartGroup> part_groups(const std::vector<std::string>& items);

// The cells of one window, and what they are of.
class PartCells {
 public:
  PartCells(const CellAxes& axes, CellWindow cells, const PartPrompts& prompts)
      : axes_(axes), cells_(std::move(cells)), prompts_(prompts) {}

  const CellWindow& window() const { return cells_; }
  std::size_t starts() const { return cells_.starts.size(); }
  double log_change(std::size_t item, std::size_t prompt, std::size_t start) const {
    return static_cast<double>(
        cells_.log_change[(item * axes_.prompts.size() + prompt) * starts() + start]);
  }
  // Used prompts with a value of all these items at every start.
  std::vector<std::size_t> complete(const std::vector<std::size_t>& items) const {
    std::vector<std::size_t> complete;
    for (std::size_t p = 0; p < axes_.prompts.size(); ++p) {
      bool whole = prompts_.used[p];
      for (const std::size_t item : items)
        for (std::size_t s = 0; whole && s < starts(); ++s)
          whole = std::isfinite(log_change(item, p, s));
      if (whole) complete.push_back(p);
    }
    return complete;
  }
  std::vector<double> logs(std::size_t item, const std::vector<std::size_t>& prompts,
                           std::size_t start) const {
    std::vector<double> logs;
    for (const std::size_t p : prompts) logs.push_back(log_change(item, p, start));
    return logs;
  }
  // Percent, out of ln(p / p_clean), which is exact where p is too small for a float.
  std::vector<double> changes(std::size_t item, const std::vector<std::size_t>& prompts,
                              std::size_t start) const {
    std::vector<double> changes;
    for (const std::size_t p : prompts)
      changes.push_back(100 * std::expm1(log_change(item, p, start)));
    return changes;
  }
  std::size_t strongest(std::size_t whole, const std::vector<std::size_t>& prompts) const {
    std::vector<double> curve;
    for (std::size_t s = 0; s < starts(); ++s) curve.push_back(mean(changes(whole, prompts, s)));
    return index_of_minimum(curve);
  }
  FactResamples resamples(const std::vector<std::size_t>& prompts,
                          const BootstrapOptions& options) const {
    std::vector<std::size_t> facts;
    for (const std::size_t p : prompts) facts.push_back(prompts_.fact[p]);
    return {facts, options};
  }
  const PartPrompts& prompts() const { return prompts_; }

 private:
  const CellAxes& axes_;
  CellWindow cells_;
  const PartPrompts& prompts_;
};

}  // namespace factflow
