#include "model/checkpoint/shard_index.hpp"

#include <set>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text_file.hpp"
#include "model/checkpoint/json_object.hpp"
#include "model/checkpoint/untrusted.hpp"

namespace factflow {
namespace {

constexpr size_t kLargestIndex = size_t{64} << 20;
constexpr size_t kMaxDepth = 16;
constexpr size_t kLongestName = 255;

bool is_plain_name(const std::string& name) {
  return !name.empty() && name.size() <= kLongestName && name != "." && name != ".." &&
         name.find('/') == name.npos && name.find('\\') == name.npos &&
         name.find('\0') == name.npos;
}

}  // namespace

WeightMap parse_weight_map(std::string_view text, const std::string& where) {
  const nlohmann::json index = parse_json_object(text, where, kMaxDepth);
  const auto found = index.find("weight_map");
  if (found == index.end() || !found->is_object())
    throw InputError(where, "has no object weight_map, expected tensor names and their files");
  if (found->empty())
    throw InputError(where, "key weight_map: is empty, expected tensor names and their files");
  WeightMap map;
  for (const auto& [tensor, shard] : found->items()) {
    if (!shard.is_string())
      throw InputError(
          where, fmt::format("key weight_map, tensor {}: found a JSON {}, expected a file name",
                             in_quotes(tensor), shard.type_name()));
    const auto& name = shard.get_ref<const std::string&>();
    if (!is_plain_name(name))
      throw InputError(where,
                       fmt::format("key weight_map, tensor {}: refuses the file {}",
                                   in_quotes(tensor), in_quotes(name)),
                       "shards must lie in the directory of the index and be named without a path");
    map.emplace(tensor, name);
  }
  return map;
}

WeightMap read_weight_map(const std::filesystem::path& index) {
  const std::string text = read_text_file(index, kLargestIndex);
  return parse_weight_map(text, index.string());
}

std::vector<std::string> shards_of(const WeightMap& map) {
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : map) shards.insert(shard);
  return {shards.begin(), shards.end()};
}

}  // namespace factflow
