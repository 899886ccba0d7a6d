// One file of weights, open: its map, the buffers for what could not be mapped in place, and its
// tensors by name.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "base/files.hpp"
#include "model/checkpoint/checkpoint.hpp"

namespace factflow {

using TensorMap = std::map<std::string, StoredTensor>;
// Moving the outer vector leaves the bytes where they are.
using OwnedBuffers = std::vector<std::vector<std::byte>>;

struct TensorFile {
  MappedFile map;
  OwnedBuffers owned;
  TensorMap tensors;  // bytes in `map` or `owned`
};

}  // namespace factflow
