// The index of a sharded checkpoint: model.safetensors.index.json or pytorch_model.bin.index.json.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace factflow {

// Tensor name -> shard, a file name without a directory.
using WeightMap = std::map<std::string, std::string>;

// {"metadata": {...}, "weight_map": {"tensor": "shard", ...}}. Throws InputError for anything else,
// and for a shard that is not a plain name inside the directory of the index.
WeightMap read_weight_map(const std::filesystem::path& index);

WeightMap parse_weight_map(std::string_view text, const std::string& where);  // throws InputError

// The shards of a map, each once, sorted.
std::vector<std::string> shards_of(const WeightMap& map);

}  // namespace factflow
