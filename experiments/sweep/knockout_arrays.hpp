// The knockouts of a model in the results file: groups MODEL/knockout and MODEL/knockout/window_N.
// Items are edges. See experiments/cell_arrays.hpp.
#pragma once

#include "experiments/cell_arrays.hpp"

namespace factflow {

const CellNames& knockout_names();

inline ArrayGroup arrays_of(const CellAxes& axes) {
  return arrays_of(knockout_names(), axes);
}
inline ArrayGroup arrays_of(const CellAxes& axes, const CellWindow& window) {
  return arrays_of(knockout_names(), axes, window);
}
inline std::vector<std::string> prompt_sets(const ResultsReader& reader, const std::string& model) {
  return prompt_sets(knockout_names(), reader, model);
}
inline std::vector<std::int64_t> knockout_windows(const ResultsReader& reader,
                                                  const std::string& model,
                                                  std::size_t set = kAllPrompts) {
  return cell_windows(knockout_names(), reader, model, set);
}
inline CellAxes knockout_axes(const ResultsReader& reader, const std::string& model,
                              std::size_t set = 0) {
  return cell_axes(knockout_names(), reader, model, set);
}
inline CellWindow knockout_window(const ResultsReader& reader, const std::string& model,
                                  std::int64_t window, std::size_t set = 0) {
  return cell_window(knockout_names(), reader, model, window, set);
}

}  // namespace factflow
