// The safetensors container: 8 bytes of header length (little-endian), a JSON header, tensor bytes
// without holes. Source: https://github.com/huggingface/safetensors, section "Format" of its
// README.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "model/checkpoint/tensor_file.hpp"

namespace factflow {

// Maps the file and reads the header alone; tensor pages stay untouched. Throws InputError naming
// file and tensor.
TensorFile open_safetensors(const std::filesystem::path& path);

// The same for a whole file in memory; the tensors point into `bytes`.
TensorMap read_safetensors(std::span<const std::byte> bytes, const std::string& where);

}  // namespace factflow
