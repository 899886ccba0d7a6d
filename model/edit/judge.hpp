// What a model says after prompts, many at once: how edits are judged. In the network's wide number
// type, through the reference forward.
#pragma once

#include <span>
#include <vector>

#include "model/network.hpp"

namespace factflow {

// A prompt and how it may go on; ids without padding.
struct Continuation {
  std::vector<int> prompt, target;
};

// Natural logarithms.
struct ContinuationOutcome {
  double target_nll = 0;          // mean over the target's tokens of -log p
  double log_first = 0;           // log p of the target's first token
  bool target_is_argmax = false;  // every token of the target is the likeliest one after its past
};

// One outcome for each, in order. Of the network as it is: edits that are applied count
// (AppliedEdit). An outcome does not depend on what else is asked, up to rounding. Throws
// std::invalid_argument for an empty prompt or target.
std::vector<ContinuationOutcome> continuations(const Network& network,
                                               std::span<const Continuation> all);

}  // namespace factflow
