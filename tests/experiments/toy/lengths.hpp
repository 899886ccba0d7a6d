// A kind of experiment that no file of the project knows of: how long prompts are, and what a model
// says of them when nothing is done.
#pragma once

#include "experiments/experiment.hpp"

namespace factflow {

const ExperimentKind& lengths_kind();

}  // namespace factflow
