// Whether a request speaks of tokens, layers and runs that there are.
#pragma once

#include "model/replay/replay_plan.hpp"

namespace factflow {

// Of a model of so many layers, whatever these can do (model/check_intervention.hpp). Throws
// std::invalid_argument for a prompt without tokens, a position outside a prompt, positions of an
// edge out of order, a layer or window outside the model, a read under a run that was not asked
// for, a vector of another length than its channels, tokens of another run that do not pair, or a
// mean of no runs.
void check_request(const ReplayRequest& request, int layers);

}  // namespace factflow
