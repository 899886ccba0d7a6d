// The decay that really happens in prompts: how much of the state is left from one token to the
// next, exp(A dt), which a state-space model decides token by token.
#pragma once

#include <cstdint>
#include <vector>

#include "model/network.hpp"

namespace factflow {

struct DecayInPrompts {
  std::int64_t tokens = 0;  // that the means are over
  // [layer][channel] of Mamba-1 the mean of sum over states of exp(A dt), [layer][head] of Mamba-2
  // the mean of exp(A dt), float32 of a float64 sum; empty for a layer without such a mixer.
  std::vector<std::vector<float>> mean;
};

// Over all tokens of all prompts but the first of each, which finds no state to decay; every token
// weighs the same. Clean whole forwards in the network's wide numbers, one prompt after the other,
// so the outcome depends on the prompts and their order alone. Throws std::invalid_argument if no
// prompt has two tokens.
DecayInPrompts decay_in_prompts(const Network& network,
                                const std::vector<std::vector<int>>& prompts);

}  // namespace factflow
