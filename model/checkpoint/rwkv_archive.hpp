// A checkpoint of RWKV-7 as its authors save it: a folder with a lone file of torch, NAME.pth, and
// no config.json. Sizes are read off the tensors.
#pragma once

#include <filesystem>
#include <optional>

#include "model/checkpoint/config_file.hpp"
#include "model/checkpoint/tensor_file.hpp"

namespace factflow {

// The file of such a folder: it holds no config.json, and one *.pth, a zip archive of another name
// than consolidated* (Meta's form).
std::optional<std::filesystem::path> find_rwkv_archive(const std::filesystem::path& directory);

// The same checkpoint as flash-linear-attention would save it: names, shapes, and low-rank matrices
// transposed, which are copied; all else stays in the file's map. The first layer's v0, v1 and v2,
// which nothing reads, are left out.
struct RwkvArchive {
  ConfigFile config;  // of model_type rwkv7
  TensorFile file;
};

// Throws InputError naming file and tensor for what is no RWKV-7, other versions and variants among
// it. Executes nothing.
RwkvArchive open_rwkv_archive(const std::filesystem::path& path);

// Old files of flash-linear-attention have a layer's six mixes with the token before in one tensor,
// x_x [6, .., hidden]: it becomes the six of newer ones, which point into it. Throws InputError for
// one of another form.
void split_rwkv_mixes(TensorMap& tensors);

}  // namespace factflow
