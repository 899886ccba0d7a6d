#include "model/checkpoint/safetensors_writer.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <nlohmann/json.hpp>

#include "base/file_operations.hpp"

namespace factflow {
namespace {

constexpr std::size_t kAlignment = 8;  // of the data behind the header
constexpr mode_t kMode = 0666;         // less the umask

std::vector<const TensorMap::value_type*> order_of(const TensorMap& tensors) {
  std::vector<const TensorMap::value_type*> order;
  for (const auto& item : tensors) order.push_back(&item);
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return size_of(a->second.type) > size_of(b->second.type);
  });
  return order;
}

// The length of the header, and the header.
std::string header_of(const std::vector<const TensorMap::value_type*>& order) {
  nlohmann::json header = {{"__metadata__", {{"format", "pt"}}}};
  std::size_t begin = 0;
  for (const auto* item : order) {
    const StoredTensor& tensor = item->second;
    const std::size_t end = begin + tensor.bytes.size();
    header[item->first] = {
        {"dtype", to_string(tensor.type)}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text = header.dump();
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  std::string length;
  for (std::size_t i = 0; i < sizeof(std::uint64_t); ++i)  // little-endian
    length += static_cast<char>(text.size() >> (8 * i) & 0xff);
  return length + text;
}

}  // namespace

void write_safetensors(const std::filesystem::path& file, const TensorMap& tensors) {
  const auto order = order_of(tensors);
  FileOperations& files = system_files();
  const OpenFile out(files, files.open(file, O_WRONLY | O_CREAT | O_EXCL, kMode));
  if (!out) throw_file_error(file, "create the file", errno);
  write_fully(files, out.get(), file, header_of(order));
  for (const auto* item : order)
    write_fully(
        files, out.get(), file,
        {reinterpret_cast<const char*>(item->second.bytes.data()), item->second.bytes.size()});
  if (files.sync_data(out.get()) != 0) throw_file_error(file, "sync the file", errno);
}

}  // namespace factflow
