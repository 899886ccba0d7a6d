// The weight matrices that an edit of facts may change (model/edit/): which rows and columns they
// are, and at which sites their input and output stand.
#pragma once

#include <cstdint>
#include <optional>

#include <ATen/ATen.h>

#include "model/edited_matrix.hpp"
#include "model/intervention.hpp"
#include "model/projection.hpp"

namespace factflow {

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
