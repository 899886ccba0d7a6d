// Makes the arrays of edits (edit_arrays.hpp) out of what is found about prompts.
#pragma once

#include <memory>

#include "experiments/edit/edit_plan.hpp"

namespace factflow {

// `plan` and `subjects` outlive the maker.
std::unique_ptr<ArrayMaker> edit_array_maker(const EditPlan& plan, const Subjects& subjects);

}  // namespace factflow
