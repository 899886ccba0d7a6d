// A restricted reader of the pickle inside pytorch_model.bin: a state dict of tensors. It executes
// nothing: it knows the opcodes that torch.save emits (protocols 2 to 5) and a fixed list of names,
// and refuses everything else by name. Sources: Python's pickletools (opcodes); torch/_utils.py
// (_rebuild_*); torch/serialization.py (persistent ids).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/checkpoint/checkpoint.hpp"

namespace factflow {

// A storage that the pickle refers to by key; its bytes are the archive's entry data/KEY.
struct PickledStorage {
  std::string key;
  StoredType type = StoredType::kU8;
  std::int64_t count = 0;  // elements, not negative
};

// A view of a storage. Shape and strides have equal length; nothing is checked against the storage
// yet.
struct PickledTensor {
  PickledStorage storage;
  StoredType type = StoredType::kF32;
  std::int64_t offset = 0;                   // elements of `type`
  std::vector<std::int64_t> shape, strides;  // elements of `type`
};

// The tensors of a pickled dict {name: tensor}. Throws InputError(where, ...) for anything else,
// and beyond the limits: 64 levels of nesting, 2^20 memo entries, 2^20 opcodes (torch needs about
// 30 a tensor).
std::map<std::string, PickledTensor> read_pickled_tensors(std::string_view pickle,
                                                          const std::string& where);

}  // namespace factflow
