// Requests with every kind of intervention that a model offers, for tests that compare one way of
// computing them with another.
#pragma once

#include <vector>

#include "model/architecture.hpp"
#include "model/replay/replay_plan.hpp"

namespace factflow {

// Prompts of 2 to 40 of the first 29 tokens: every site written with every kind of value, whole and
// on some channels, set and added; edges cut through state, convolution and mixer, on heads and
// channels; several together; and reads of every site, clean and under interventions.
std::vector<ReplayRequest> intervention_requests(const Architecture& architecture);

}  // namespace factflow
