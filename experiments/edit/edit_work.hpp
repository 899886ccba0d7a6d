// Edits, one fact at a time, and what the model says after each.
#pragma once

#include <memory>

#include "experiments/edit/edit_plan.hpp"

namespace factflow {

std::shared_ptr<const Work> edit_work(EditPlan plan);

}  // namespace factflow
