#include "model/checkpoint/safetensors.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "base/error.hpp"
#include "model/checkpoint/foreign_files.hpp"
#include "model/checkpoint/json_object.hpp"
#include "model/checkpoint/untrusted.hpp"
#include "model/checkpoint/zip_archive.hpp"

namespace factflow {
namespace {

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kLargestHeader = 100'000'000;  // the limit of the reference implementation
constexpr size_t kMaxDepth = 8;
constexpr const char* kDownloadAgain = "the file is cut short or damaged: download it again";

std::optional<StoredType> stored_type(std::string_view name) {
  using enum StoredType;
  for (const StoredType type : {kF64, kF32, kF16, kBF16, kI64, kI32, kI16, kI8, kU8, kBool})
    if (to_string(type) == name) return type;
  return std::nullopt;
}

std::string_view header_text(std::span<const std::byte> bytes, const std::string& where) {
  refuse_foreign_content(bytes, where);
  if (ZipArchive::is_zip(bytes))
    throw InputError(where, "is a zip archive, as torch.save writes",
                     "call it pytorch_model.bin, and its shards likewise, their index too");
  std::uint64_t length = 0;
  if (bytes.size() < kLengthBytes)
    throw InputError(
        where, fmt::format("is {} bytes long, too short for a safetensors file", bytes.size()),
        kDownloadAgain);
  std::memcpy(&length, bytes.data(), kLengthBytes);
  if (length > kLargestHeader)
    throw InputError(where,
                     fmt::format("says its header is {} bytes long, expected at most {}", length,
                                 kLargestHeader),
                     "the file is damaged or no safetensors file");
  if (length > bytes.size() - kLengthBytes)
    throw InputError(where,
                     fmt::format("says its header is {} bytes long, but only {} follow", length,
                                 bytes.size() - kLengthBytes),
                     kDownloadAgain);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, length);
  if (!text.starts_with('{'))
    throw InputError(where, "has a header that does not begin with {, as JSON objects do");
  return text;
}

// A member of a tensor's entry that must be an array of non-negative integers.
std::vector<std::int64_t> sizes_of(const nlohmann::json& entry, const char* key,
                                   const std::string& where) {
  const auto found = entry.find(key);
  if (found == entry.end() || !found->is_array())
    throw InputError(where, fmt::format("has no {}, expected an array of integers", key));
  std::vector<std::int64_t> sizes;
  for (const nlohmann::json& size : *found) {
    if (!size.is_number_unsigned() ||
        size.get<std::uint64_t>() >
            static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      throw InputError(where, fmt::format("key {}: found {}, expected non-negative integers", key,
                                          in_quotes(size.dump())));
    sizes.push_back(size.get<std::int64_t>());
  }
  return sizes;
}

StoredType type_of(const nlohmann::json& entry, const std::string& where) {
  const auto found = entry.find("dtype");
  if (found == entry.end() || !found->is_string())
    throw InputError(where, "has no dtype, expected a string");
  const auto& name = found->get_ref<const std::string&>();
  const std::optional<StoredType> type = stored_type(name);
  if (!type)
    throw InputError(where,
                     fmt::format("has the dtype {}, which is not supported", in_quotes(name)),
                     name.starts_with("F8") || name.starts_with("F4") || name.starts_with("F6")
                         ? "the weights are quantised: use the checkpoint that they were made from"
                         : "expected one of F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL");
  return *type;
}

StoredTensor read_entry(const nlohmann::json& entry, std::span<const std::byte> data,
                        const std::string& file, const std::string& where) {
  if (!entry.is_object())
    throw InputError(
        where, fmt::format("is described by a JSON {}, expected an object", entry.type_name()));
  StoredTensor tensor;
  tensor.type = type_of(entry, where);
  tensor.shape = sizes_of(entry, "shape", where);
  tensor.file = file;
  const std::int64_t bytes = checked_bytes(tensor.type, tensor.shape, where);
  const std::vector<std::int64_t> offsets = sizes_of(entry, "data_offsets", where);
  if (offsets.size() != 2 || offsets[0] > offsets[1])
    throw InputError(where,
                     fmt::format("has data_offsets {}, expected [begin, end]", to_string(offsets)));
  if (offsets[1] > static_cast<std::int64_t>(data.size()))
    throw InputError(
        where,
        fmt::format("ends at byte {} of the data, but the file holds {}", offsets[1], data.size()),
        kDownloadAgain);
  if (offsets[1] - offsets[0] != bytes)
    throw InputError(where,
                     fmt::format("takes {} bytes, but {} {} needs {}", offsets[1] - offsets[0],
                                 to_string(tensor.type), to_string(tensor.shape), bytes));
  tensor.bytes = data.subspan(static_cast<size_t>(offsets[0]), static_cast<size_t>(bytes));
  return tensor;
}

std::string place(const std::string& where, const std::string& name) {
  return fmt::format("{}: tensor {}", where, in_quotes(name));
}

// The format forbids holes and overlaps: in order of their begin, the tensors tile the data.
void check_tiling(const TensorMap& tensors, std::span<const std::byte> data,
                  const std::string& where) {
  std::vector<const TensorMap::value_type*> order;
  for (const auto& item : tensors) order.push_back(&item);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    const auto &x = a->second.bytes, &y = b->second.bytes;
    return x.data() != y.data() ? x.data() < y.data() : x.size() < y.size();
  });
  size_t end = 0;
  for (const auto* item : order) {
    const auto begin = static_cast<size_t>(item->second.bytes.data() - data.data());
    if (begin < end)
      throw InputError(place(where, item->first),
                       fmt::format("begins at byte {}, inside the tensor before it", begin));
    if (begin > end)
      throw InputError(
          place(where, item->first),
          fmt::format("begins at byte {}, which leaves a hole of {} bytes", begin, begin - end));
    end = begin + item->second.bytes.size();
  }
  if (end != data.size())
    throw InputError(
        where, fmt::format("holds {} bytes of data, but its tensors end at {}", data.size(), end));
}

}  // namespace

TensorMap read_safetensors(std::span<const std::byte> bytes, const std::string& where) {
  const std::string_view text = header_text(bytes, where);
  const std::span<const std::byte> data = bytes.subspan(kLengthBytes + text.size());
  const nlohmann::json header = parse_json_object(text, where, kMaxDepth);
  TensorMap tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    tensors.emplace(name, read_entry(entry, data, where, place(where, name)));
  }
  check_tiling(tensors, data, where);
  return tensors;
}

TensorFile open_safetensors(const std::filesystem::path& path) {
  MappedFile map(path);
  TensorMap tensors = read_safetensors(map.bytes(), path.string());
  return {std::move(map), {}, std::move(tensors)};
}

}  // namespace factflow
