// Edits of facts written into a checkpoint, for whatever else reads checkpoints.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "model/checkpoint/checkpoint.hpp"
#include "model/editable_matrix.hpp"
#include "model/network.hpp"

namespace factflow {

// W += r u^T, as an edit is saved; of any float type.
struct SavedEdit {
  EditedMatrix matrix = EditedMatrix::kWo;
  int layer = 0;
  at::Tensor u, r;  // [in], [out] of the matrix
};

struct EditedTensor {
  std::string name;
  StoredType type = StoredType::kF32;
  std::size_t edits = 0;
  double change = 0;    // Frobenius norm of the sum of its edits
  double rounding = 0;  // of what its number type cannot hold of it, over `change`
};

// Writes `out`, which must not exist or be empty: model.safetensors with all tensors under their
// names and in their number types, those that are edited as W + sum of r u^T computed in float64
// and rounded once, and a copy of every other file of the checkpoint's directory that is no
// weights. All appears at once; the checkpoint is only read. `network` was loaded from it. Throws
// InputError for edits that do not fit the network or numbers that the type cannot hold, RunError
// if the disk fails.
std::vector<EditedTensor> write_edited_checkpoint(const Checkpoint& checkpoint,
                                                  const Network& network,
                                                  std::span<const SavedEdit> edits,
                                                  const std::filesystem::path& out);

}  // namespace factflow
