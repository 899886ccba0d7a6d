#include "experiments/cell_values.hpp"

#include <algorithm>
#include <cmath>

namespace factflow {

double StoredCells::bytes() const {
  constexpr double kAlways = sizeof(float) + 3 * sizeof(std::int32_t);
  return kAlways + (log_changes ? sizeof(float) : 0) + (rerouted ? sizeof(std::int32_t) : 0);
}

void CellValues::add(const Answer& answer, double clean_log_probability,
                     const StoredCells& stored) {
  probability.push_back(static_cast<float>(std::exp(answer.log_probability)));
  if (stored.log_changes)
    log_change.push_back(static_cast<float>(answer.log_probability - clean_log_probability));
  rank.push_back(answer.rank);
  tied.push_back(answer.tied);
  blocked_edges.push_back(answer.blocked_edges);
  if (stored.rerouted) rerouted.push_back(answer.rerouted);
}

CellValues no_answers(std::size_t cells, const StoredCells& stored) {
  CellValues values;
  for (std::size_t i = 0; i < cells; ++i) values.add({}, 0, stored);
  return values;
}

CellValues cells_of_edge(std::span<const Answer> answers, double clean_log_probability,
                         std::int64_t pairs, const StoredCells& stored) {
  const bool exists = std::ranges::any_of(
      answers, [](const Answer& answer) { return answer.rank != 0 && answer.blocked_edges > 0; });
  if (!exists) return no_answers(answers.size(), stored);
  CellValues values;
  values.touched = pairs;
  for (const Answer& answer : answers) values.add(answer, clean_log_probability, stored);
  return values;
}

}  // namespace factflow
