// What is kept of the answers to one item (an edge, a row of interventions) about one prompt: what
// kinds with cells send between ranks, and put into the results file by a CellCollector.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/replay/replay_result.hpp"

namespace factflow {

// What a kind keeps beside probability, rank, ties and blocked edges.
struct StoredCells {
  bool log_changes = false;
  bool rerouted = false;  // of a mixture of experts

  double bytes() const;  // of one cell
};

// For each start of an item's window sizes, one size after the other; as in CellWindow
// (experiments/cell_arrays.hpp).
struct CellValues {
  std::int64_t touched = 0;  // CellAxes::blocked; 0 = nothing to touch
  std::vector<float> probability, log_change;
  std::vector<std::int32_t> rank, tied, blocked_edges, rerouted;

  // An answer of rank 0 is none: NaN, and zeros.
  void add(const Answer& answer, double clean_log_probability, const StoredCells& stored);
};
// So many cells without an answer.
CellValues no_answers(std::size_t cells, const StoredCells& stored);
// Of an edge that is blocked in each window, of `pairs` (target, source) pairs. Without an answer,
// and touching nothing, where no window has a layer with such an edge: layers that slide and short
// convolutions may not reach so far, and sets of channels may be empty.
CellValues cells_of_edge(std::span<const Answer> answers, double clean_log_probability,
                         std::int64_t pairs, const StoredCells& stored);

template <class Archive>
void serialize(Archive& archive, CellValues& v) {
  archive(v.touched, v.probability, v.log_change, v.rank, v.tied, v.blocked_edges, v.rerouted);
}

}  // namespace factflow
