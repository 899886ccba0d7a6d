#include "experiments/sweep/knockout_arrays.hpp"

namespace factflow {

const CellNames& knockout_names() {
  static const CellNames names = {
      "knockout",
      "edge",
      "blocked flow: sources->targets, then /channels unless all channels lose it",
      "edges",
      "blocked (target, source) token pairs in one layer; 0 = the prompt has no such edge",
      "with the edge blocked",
      "no such edge",
      "sweep"};
  return names;
}

}  // namespace factflow
