// Writes what safetensors.hpp reads.
#pragma once

#include <filesystem>

#include "model/checkpoint/tensor_file.hpp"

namespace factflow {

// A new file with these tensors, wide types first, so that all are aligned; synced (its directory
// is not). Nothing is copied: the bytes go from where they are into the file. Throws RunError, also
// if the file exists.
void write_safetensors(const std::filesystem::path& file, const TensorMap& tensors);

}  // namespace factflow
