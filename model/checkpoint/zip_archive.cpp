#include "model/checkpoint/zip_archive.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <zlib.h>

#include "base/error.hpp"
#include "model/checkpoint/untrusted.hpp"

namespace factflow {
namespace {

constexpr std::uint32_t kLocalSignature = 0x04034b50;
constexpr std::uint32_t kCentralSignature = 0x02014b50;
constexpr std::uint32_t kEndSignature = 0x06054b50;
constexpr std::uint32_t kZip64EndSignature = 0x06064b50;
constexpr std::uint32_t kZip64LocatorSignature = 0x07064b50;
constexpr std::uint64_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22, kZip64EndSize = 56,
                        kZip64LocatorSize = 20;
constexpr std::uint64_t kLongestComment = 65535;
constexpr std::uint32_t kInZip64 = 0xffffffff;
constexpr std::uint16_t kEncrypted = 1;
constexpr std::uint16_t kZip64ExtraId = 1;
constexpr std::uint64_t kInflateAllowance = std::uint64_t{64} << 20;
constexpr std::uint64_t kInflateRatio = 20;
constexpr const char* kDownloadAgain = "the file is cut short or damaged: download it again";

// A little-endian number; the caller has checked that it lies inside.
template <typename T>
T number_at(std::span<const std::byte> bytes, std::uint64_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

std::string text_at(std::span<const std::byte> bytes, std::uint64_t offset, std::uint64_t length) {
  return {reinterpret_cast<const char*>(bytes.data()) + offset, length};
}

// Do `length` bytes from `offset` lie inside `size` bytes?
bool fits(std::uint64_t offset, std::uint64_t length, std::uint64_t size) {
  return offset <= size && length <= size - offset;
}

}  // namespace

bool ZipArchive::is_zip(std::span<const std::byte> bytes) {
  return bytes.size() >= kLocalSize && number_at<std::uint32_t>(bytes, 0) == kLocalSignature;
}

ZipArchive::ZipArchive(std::span<const std::byte> bytes, std::string where)
    : bytes_(bytes), where_(std::move(where)) {
  read_directory(locate_directory());
}

const ZipEntry* ZipArchive::find(std::string_view name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : &found->second;
}

// The end record is the last thing in the file, before a comment whose length it states.
ZipArchive::Directory ZipArchive::locate_directory() const {
  const std::uint64_t size = bytes_.size();
  for (std::uint64_t tail = kEndSize; tail <= std::min(size, kEndSize + kLongestComment); ++tail) {
    const std::uint64_t end = size - tail;
    if (number_at<std::uint32_t>(bytes_, end) != kEndSignature ||
        number_at<std::uint16_t>(bytes_, end + 20) != tail - kEndSize)
      continue;
    if (end >= kZip64LocatorSize &&
        number_at<std::uint32_t>(bytes_, end - kZip64LocatorSize) == kZip64LocatorSignature)
      return locate_zip64(end - kZip64LocatorSize);
    const Directory directory{number_at<std::uint32_t>(bytes_, end + 16),
                              number_at<std::uint32_t>(bytes_, end + 12),
                              number_at<std::uint16_t>(bytes_, end + 10)};
    if (number_at<std::uint16_t>(bytes_, end + 4) != 0 ||
        number_at<std::uint16_t>(bytes_, end + 6) != 0)
      throw InputError(where_, "is a zip archive of several disks, expected one file");
    if (!fits(directory.offset, directory.size, end))
      throw InputError(where_, "has a zip directory that lies outside the file", kDownloadAgain);
    return directory;
  }
  throw InputError(where_, "has no zip directory at its end", kDownloadAgain);
}

ZipArchive::Directory ZipArchive::locate_zip64(std::uint64_t locator) const {
  const auto record = number_at<std::uint64_t>(bytes_, locator + 8);
  if (!fits(record, kZip64EndSize, locator) ||
      number_at<std::uint32_t>(bytes_, record) != kZip64EndSignature)
    throw InputError(where_, "has a damaged zip64 end record", kDownloadAgain);
  if (number_at<std::uint32_t>(bytes_, record + 16) != 0 ||
      number_at<std::uint32_t>(bytes_, record + 20) != 0)
    throw InputError(where_, "is a zip archive of several disks, expected one file");
  const Directory directory{number_at<std::uint64_t>(bytes_, record + 48),
                            number_at<std::uint64_t>(bytes_, record + 40),
                            number_at<std::uint64_t>(bytes_, record + 32)};
  if (!fits(directory.offset, directory.size, record))
    throw InputError(where_, "has a zip directory that lies outside the file", kDownloadAgain);
  return directory;
}

void ZipArchive::read_directory(const Directory& directory) {
  std::uint64_t offset = directory.offset;
  const std::uint64_t end = directory.offset + directory.size;
  for (std::uint64_t i = 0; i < directory.count; ++i) offset = read_directory_entry(offset, end);
  if (offset != end)
    throw InputError(where_, fmt::format("has a zip directory that holds more than its {} entries",
                                         directory.count));
}

// Returns the offset of the next entry.
std::uint64_t ZipArchive::read_directory_entry(std::uint64_t offset, std::uint64_t end) {
  if (!fits(offset, kCentralSize, end) ||
      number_at<std::uint32_t>(bytes_, offset) != kCentralSignature)
    throw InputError(where_, fmt::format("has a damaged zip directory entry at byte {}", offset),
                     kDownloadAgain);
  const auto name_length = number_at<std::uint16_t>(bytes_, offset + 28);
  const auto extra_length = number_at<std::uint16_t>(bytes_, offset + 30);
  const auto comment_length = number_at<std::uint16_t>(bytes_, offset + 32);
  const std::uint64_t length = kCentralSize + name_length + extra_length + comment_length;
  if (!fits(offset, length, end))
    throw InputError(where_,
                     fmt::format("has a zip directory entry at byte {} that is cut short", offset),
                     kDownloadAgain);
  const std::string name = text_at(bytes_, offset + kCentralSize, name_length);
  ZipEntry entry;
  entry.flags = number_at<std::uint16_t>(bytes_, offset + 8);
  entry.method = number_at<std::uint16_t>(bytes_, offset + 10);
  entry.crc = number_at<std::uint32_t>(bytes_, offset + 16);
  entry.packed_size = number_at<std::uint32_t>(bytes_, offset + 20);
  entry.size = number_at<std::uint32_t>(bytes_, offset + 24);
  entry.header_offset = number_at<std::uint32_t>(bytes_, offset + 42);
  read_zip64_extra(bytes_.subspan(offset + kCentralSize + name_length, extra_length), name, entry);
  if (!entries_.emplace(name, entry).second)
    throw InputError(where_, fmt::format("holds the zip entry {} twice", in_quotes(name)));
  return offset + length;
}

// The zip64 field holds, in this order, those of size, packed size and offset that did not fit into
// 32 bits.
void ZipArchive::read_zip64_extra(std::span<const std::byte> extra, const std::string& name,
                                  ZipEntry& entry) const {
  if (entry.size != kInZip64 && entry.packed_size != kInZip64 && entry.header_offset != kInZip64)
    return;
  while (extra.size() >= 4) {
    const auto id = number_at<std::uint16_t>(extra, 0);
    const auto length = number_at<std::uint16_t>(extra, 2);
    if (length > extra.size() - 4) break;
    std::span<const std::byte> field = extra.subspan(4, length);
    extra = extra.subspan(4 + size_t{length});
    if (id != kZip64ExtraId) continue;
    for (std::uint64_t* value : {&entry.size, &entry.packed_size, &entry.header_offset}) {
      if (*value != kInZip64 || field.size() < 8) continue;
      *value = number_at<std::uint64_t>(field, 0);
      field = field.subspan(8);
    }
    return;
  }
  throw InputError(where_, fmt::format("zip entry {} has no zip64 sizes", in_quotes(name)),
                   kDownloadAgain);
}

std::span<const std::byte> ZipArchive::packed(const std::string& name,
                                              const ZipEntry& entry) const {
  const std::string place = fmt::format("{}: zip entry {}", where_, in_quotes(name));
  if ((entry.flags & kEncrypted) != 0) throw InputError(place, "is encrypted");
  const std::uint64_t offset = entry.header_offset;
  if (!fits(offset, kLocalSize, bytes_.size()) ||
      number_at<std::uint32_t>(bytes_, offset) != kLocalSignature)
    throw InputError(place, fmt::format("has no local header at byte {}", offset), kDownloadAgain);
  const auto name_length = number_at<std::uint16_t>(bytes_, offset + 26);
  const auto extra_length = number_at<std::uint16_t>(bytes_, offset + 28);
  const std::uint64_t header = kLocalSize + name_length + extra_length;
  if (!fits(offset, header, bytes_.size()) ||
      text_at(bytes_, offset + kLocalSize, name_length) != name)
    throw InputError(place, "has another name in its local header", kDownloadAgain);
  if (!fits(offset + header, entry.packed_size, bytes_.size()))
    throw InputError(place,
                     fmt::format("is {} bytes long and ends outside the file", entry.packed_size),
                     kDownloadAgain);
  return bytes_.subspan(offset + header, entry.packed_size);
}

std::span<const std::byte> ZipArchive::stored(const std::string& name,
                                              const ZipEntry& entry) const {
  if (entry.method != kStored || entry.size != entry.packed_size)
    throw InputError(
        fmt::format("{}: zip entry {}", where_, in_quotes(name)),
        fmt::format("has the compression method {} and {} bytes in {}, expected a stored entry",
                    entry.method, entry.size, entry.packed_size));
  return packed(name, entry);
}

std::vector<std::byte> ZipArchive::inflated(const std::string& name, const ZipEntry& entry) {
  const std::string place = fmt::format("{}: zip entry {}", where_, in_quotes(name));
  if (entry.method != kDeflated)
    throw InputError(
        place,
        fmt::format("has the compression method {}, expected stored or deflated", entry.method));
  const std::span<const std::byte> source = packed(name, entry);
  const std::uint64_t limit = kInflateAllowance + kInflateRatio * bytes_.size();
  if (entry.size > limit - inflated_total_)
    throw InputError(place,
                     fmt::format("refuses a zip bomb: {} bytes of a file of {} inflate to {}",
                                 source.size(), bytes_.size(), entry.size));
  inflated_total_ += entry.size;
  if (source.size() > std::numeric_limits<uInt>::max() ||
      entry.size > std::numeric_limits<uInt>::max())
    throw InputError(place, "is a deflated entry of 4 GiB or more",
                     "save the checkpoint uncompressed");

  std::vector<std::byte> out(entry.size);
  std::byte spare{};  // zlib wants an address even for an empty entry
  z_stream stream{};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(source.data()));
  stream.avail_in = static_cast<uInt>(source.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.empty() ? &spare : out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw std::bad_alloc();
  const int status = inflate(&stream, Z_FINISH);
  const std::uint64_t produced = stream.total_out;
  inflateEnd(&stream);
  if (status != Z_STREAM_END || produced != entry.size)
    throw InputError(place, fmt::format("does not inflate to its {} bytes", entry.size),
                     kDownloadAgain);
  if (crc32_z(0, reinterpret_cast<const Bytef*>(out.data()), out.size()) != entry.crc)
    throw InputError(place, "does not match its CRC", kDownloadAgain);
  return out;
}

}  // namespace factflow
