// pytorch_model.bin as torch.save has written it since version 1.6: a zip archive with a folder
// that holds data.pkl (the pickle), data/KEY (storages), byteorder and version.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "model/checkpoint/tensor_file.hpp"

namespace factflow {

// Maps the file and reads the archive's directory, the pickle and one local header per storage.
// Stored, contiguous tensors are used in place; deflated storages and strided tensors are copied
// into owned buffers, strided ones to row-major order. Throws InputError naming file and tensor.
// Executes nothing.
TensorFile open_torch_archive(const std::filesystem::path& path);

// The same for a whole file in memory; the tensors point into `bytes` or `owned`.
TensorMap read_torch_archive(std::span<const std::byte> bytes, const std::string& where,
                             OwnedBuffers& owned);

}  // namespace factflow
