// The weight matrices that an edit of facts may change (model/edit/): which rows and columns they
// are, and at which sites their input and output stand.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <ATen/ATen.h>

#include "model/intervention.hpp"
#include "model/projection.hpp"

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

// What a mixer says about one of them. The mixer owns the projection.
struct EditableMatrix {
  EditedMatrix name = EditedMatrix::kWo;
  const Projection* projection = nullptr;
  at::Tensor bias = {};  // of all the projection's rows; undefined: none
  std::int64_t first_row = 0, rows = 0, first_column = 0, columns = 0;
  // Where its input stands; absent: it is the block's input after the norm.
  std::optional<Site> key = {};
  Site value = Site::kO;   // where its output stands,
  bool activated = false;  // after SiLU
};

}  // namespace factflow
