// The names of the weight matrices that an edit of facts may change (model/edit/), and what is
// known of them without weights.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "model/intervention.hpp"

namespace factflow {

// Names of Sharma et al. 2024, section 4, and of Meng et al. 2022.
enum class EditedMatrix {
  kWa,    // Mamba: the rows of the input projection that give a
  kWxbc,  // Mamba-2: those that give a, B and C
  kWg,    // Mamba: those that give the gate, before SiLU
  kWo,    // Mamba: the output projection
  kWdown  // the MLP's down projection
};

std::string to_string(EditedMatrix matrix);               // "W_a"
EditedMatrix parse_edited_matrix(std::string_view name);  // throws InputError

// One that a mixer has (model/editable_matrix.hpp).
struct MatrixShape {
  EditedMatrix name = EditedMatrix::kWo;
  // Where its input stands; absent: it is the block's input after the norm.
  std::optional<Site> key = {};
  Site value = Site::kO;  // where its output stands
};

}  // namespace factflow
