#include "model/checkpoint/torch_archive.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "model/checkpoint/foreign_files.hpp"
#include "model/checkpoint/pickle.hpp"
#include "model/checkpoint/untrusted.hpp"
#include "model/checkpoint/zip_archive.hpp"

namespace factflow {
namespace {

constexpr std::uint64_t kLargestPickle = std::uint64_t{64} << 20;
constexpr std::string_view kPickleEntry = "/data.pkl";

void refuse_other_formats(std::span<const std::byte> bytes, const std::string& where) {
  refuse_foreign_content(bytes, where);
  if (ZipArchive::is_zip(bytes)) return;
  if (looks_like_safetensors(bytes))
    throw InputError(where, "is a file of safetensors",
                     "call it model.safetensors, and its shards likewise, their index too");
  throw InputError(where, "is no zip archive, expected what torch.save writes",
                   "the file is damaged: download it again");
}

// Reads one archive: keeps each storage's bytes by key, since several tensors may share one.
class ArchiveReader {
 public:
  ArchiveReader(std::span<const std::byte> bytes, const std::string& where, OwnedBuffers& owned)
      : zip_(bytes, where), where_(where), file_size_(bytes.size()), owned_(owned) {
    find_folder();
    check_byte_order();
  }

  TensorMap read() {
    const std::span<const std::byte> pickle =
        entry_bytes(folder_ + std::string(kPickleEntry), kLargestPickle);
    const std::string_view text(reinterpret_cast<const char*>(pickle.data()), pickle.size());
    TensorMap tensors;
    for (auto& [name, view] : read_pickled_tensors(text, where_))
      tensors.emplace(name,
                      read_tensor(view, fmt::format("{}: tensor {}", where_, in_quotes(name))));
    return tensors;
  }

 private:
  void find_folder() {
    for (const auto& [name, entry] : zip_.entries()) {
      if (!name.ends_with(kPickleEntry) || name.find('/') != name.size() - kPickleEntry.size())
        continue;
      if (!folder_.empty()) throw InputError(where_, "holds two entries data.pkl, expected one");
      folder_ = name.substr(0, name.size() - kPickleEntry.size());
    }
    if (folder_.empty())
      throw InputError(where_, "is a zip archive that holds no entry data.pkl",
                       "expected a checkpoint written by torch.save; unpack one that was zipped");
    if (zip_.find(folder_ + "/constants.pkl") != nullptr)
      throw InputError(where_, "is a TorchScript program", "save its state_dict() with torch.save");
  }

  void check_byte_order() {
    constexpr std::uint64_t kLongest = 16;
    const std::string name = folder_ + "/byteorder";
    if (zip_.find(name) == nullptr) return;  // torch before 2.1 wrote none
    const std::span<const std::byte> order = entry_bytes(name, kLongest);
    const std::string_view text(reinterpret_cast<const char*>(order.data()), order.size());
    if (text != "little")
      throw InputError(where_,
                       fmt::format("has the byte order {}, expected 'little'", in_quotes(text)));
  }

  // In place if it is stored, else inflated into an owned buffer.
  std::span<const std::byte> entry_bytes(const std::string& name, std::uint64_t limit) {
    const ZipEntry* entry = zip_.find(name);
    if (entry == nullptr)
      throw InputError(where_, fmt::format("holds no entry {}", in_quotes(name)));
    if (entry->size > limit)
      throw InputError(where_, fmt::format("entry {} is {} bytes long, expected at most {}",
                                           in_quotes(name), entry->size, limit));
    if (entry->method == ZipArchive::kStored) return zip_.stored(name, *entry);
    return owned_.emplace_back(zip_.inflated(name, *entry));
  }

  std::span<const std::byte> storage_bytes(const PickledStorage& storage,
                                           const std::string& place) {
    const std::int64_t expected = checked_bytes(storage.type, std::span(&storage.count, 1), place);
    auto found = storages_.find(storage.key);
    if (found == storages_.end()) {
      const std::string name = fmt::format("{}/data/{}", folder_, storage.key);
      if (zip_.find(name) == nullptr)
        throw InputError(place,
                         fmt::format("lies in the entry {}, which is missing", in_quotes(name)));
      found =
          storages_.emplace(storage.key, entry_bytes(name, static_cast<std::uint64_t>(expected)))
              .first;
    }
    if (found->second.size() != static_cast<size_t>(expected))
      throw InputError(place, fmt::format("lies in a storage of {} bytes, but the entry holds {}",
                                          expected, found->second.size()));
    return found->second;
  }

  StoredTensor read_tensor(const PickledTensor& view, const std::string& place);
  void copy_strided(const PickledTensor& view, std::span<const std::byte> storage,
                    StoredTensor& tensor, const std::string& place);

  ZipArchive zip_;
  std::string where_;
  std::uint64_t file_size_;
  OwnedBuffers& owned_;
  std::string folder_;
  std::map<std::string, std::span<const std::byte>> storages_;
  std::uint64_t copied_total_ = 0;  // bytes of all strided tensors so far
};

// Strides of dimensions of size 1 say nothing, whatever they are.
bool is_contiguous(const PickledTensor& view) {
  std::int64_t expected = 1;
  for (size_t i = view.shape.size(); i-- > 0;) {
    if (view.shape[i] != 1 && view.strides[i] != expected) return false;
    expected *= view.shape[i];
  }
  return true;
}

// One past the last element of a non-empty view, in elements of the storage. Throws for a negative
// number or overflow.
std::int64_t end_of_view(const PickledTensor& view, const std::string& place) {
  std::int64_t last = view.offset;
  bool bad = view.offset < 0;
  for (size_t i = 0; i < view.shape.size(); ++i) {
    std::int64_t step = 0;
    bad = bad || view.strides[i] < 0 ||
          __builtin_mul_overflow(view.shape[i] - 1, view.strides[i], &step) ||
          __builtin_add_overflow(last, step, &last);
  }
  if (bad || __builtin_add_overflow(last, std::int64_t{1}, &last))
    throw InputError(place, fmt::format("has the impossible offset {} or strides {}", view.offset,
                                        to_string(view.strides)));
  return last;
}

StoredTensor ArchiveReader::read_tensor(const PickledTensor& view, const std::string& place) {
  StoredTensor tensor;
  tensor.type = view.type;
  tensor.shape = view.shape;
  tensor.file = where_;
  const std::int64_t bytes = checked_bytes(view.type, view.shape, place);
  const std::span<const std::byte> storage = storage_bytes(view.storage, place);
  if (bytes == 0) return tensor;
  const auto room = static_cast<std::int64_t>(storage.size() / size_of(view.type));
  if (const std::int64_t end = end_of_view(view, place); end > room)
    throw InputError(place, fmt::format("ends at element {} of a storage of {}", end, room));
  if (is_contiguous(view)) {
    tensor.bytes = storage.subspan(static_cast<size_t>(view.offset) * size_of(view.type),
                                   static_cast<size_t>(bytes));
  } else {
    copy_strided(view, storage, tensor, place);
  }
  return tensor;
}

// Copies in row-major order. The copies together may not exceed the storages: a tensor that repeats
// elements (stride 0) could otherwise ask for any amount of memory.
void ArchiveReader::copy_strided(const PickledTensor& view, std::span<const std::byte> storage,
                                 StoredTensor& tensor, const std::string& place) {
  const size_t width = size_of(view.type);
  const size_t bytes = static_cast<size_t>(tensor.count()) * width;
  if (bytes > file_size_ + zip_.inflated_bytes() - copied_total_)
    throw InputError(
        place,
        fmt::format("has the shape {} and the strides {}, which need more memory than the file",
                    to_string(view.shape), to_string(view.strides)),
        "save it as tensor.contiguous()");
  copied_total_ += bytes;
  std::vector<std::byte>& out = owned_.emplace_back(bytes);
  std::vector<std::int64_t> index(view.shape.size(), 0);
  std::int64_t at = view.offset;
  for (size_t written = 0; written < bytes; written += width) {
    std::memcpy(out.data() + written, storage.data() + static_cast<size_t>(at) * width, width);
    for (size_t i = index.size(); i-- > 0;) {  // the next index, carrying from the last dimension
      at += view.strides[i];
      if (++index[i] < view.shape[i]) break;
      at -= view.strides[i] * view.shape[i];
      index[i] = 0;
    }
  }
  tensor.bytes = out;
}

}  // namespace

TensorMap read_torch_archive(std::span<const std::byte> bytes, const std::string& where,
                             OwnedBuffers& owned) {
  refuse_other_formats(bytes, where);
  return ArchiveReader(bytes, where, owned).read();
}

TensorFile open_torch_archive(const std::filesystem::path& path) {
  MappedFile map(path);
  OwnedBuffers owned;
  TensorMap tensors = read_torch_archive(map.bytes(), path.string(), owned);
  return {std::move(map), std::move(owned), std::move(tensors)};
}

}  // namespace factflow
