// The engine against the reference forward (model/reference/), with the same weights on the same
// device: what a run does before it keeps a number of a model.
#pragma once

#include <string>

#include "model/network.hpp"
#include "model/replay/replay.hpp"

namespace factflow {

struct SelfCheck {
  int runs = 0;  // that were compared, the clean one included
  // Of |log((p + 1e-6) / (q + 1e-6))|, p the engine's probability of the answer, q the reference's.
  double largest = 0, median = 0;
  std::string of = {};  // which run the largest is of, in words
  double largest_allowed = 0, median_allowed = 0;

  bool passed() const { return largest <= largest_allowed && median <= median_allowed; }
  // "largest difference 3.1e-06 in 13 runs against whole forwards (edges, layers 0 to 4)"
  std::string in_words() const;
};

// Asks the engine everything of a request, as a run will, and the reference forward some of it by
// whole forwards: of every kind of intervention the first and the last run and some between, and
// the clean one. `network` is the engine's.
SelfCheck check_against_reference(ReplayEngine& engine, const Network& network,
                                  const ReplayRequest& request);

// How many forwards that takes, for `factflow plan`.
int self_check_runs(const ReplayRequest& request);

}  // namespace factflow
