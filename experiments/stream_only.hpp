// Kinds that begin a forward in the middle of the model, with the stream alone.
#pragma once

#include <string>

#include "experiments/experiment.hpp"

namespace factflow {

// Throws InputError for a model whose columns carry more from layer to layer than the stream
// (model/mixers/mixer_roles.hpp). `key`: where it is asked.
void require_stream_only(const ModelToPlan& model, const std::string& key);

}  // namespace factflow
