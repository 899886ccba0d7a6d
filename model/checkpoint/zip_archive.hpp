// The directory of a zip archive in memory, entries found by name and read in place. Own code,
// because the zip libraries read entries through file positions and copies, while a checkpoint's
// entries are stored without compression and can be used where they are mapped; deflated entries go
// through zlib. Source: PKWARE APPNOTE.TXT 6.3.10, sections 4.3.7 (local header), 4.3.12 (central
// directory), 4.3.14 to 4.3.16 (ends), 4.5.3 (zip64 extra field).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace factflow {

struct ZipEntry {
  std::uint16_t flags = 0;
  std::uint16_t method = 0;
  std::uint32_t crc = 0;            // of the uncompressed bytes; checked for deflated entries
  std::uint64_t packed_size = 0;    // bytes in the archive
  std::uint64_t size = 0;           // bytes uncompressed
  std::uint64_t header_offset = 0;  // of the local header
};

class ZipArchive {
 public:
  static constexpr std::uint16_t kStored = 0;
  static constexpr std::uint16_t kDeflated = 8;

  static bool is_zip(std::span<const std::byte> bytes);  // begins as a non-empty archive does

  // Reads the central directory; entries stay untouched. `bytes` must outlive the archive. Throws
  // InputError(where, ...) for a damaged directory, several disks, or a name that comes twice.
  ZipArchive(std::span<const std::byte> bytes, std::string where);

  const std::map<std::string, ZipEntry, std::less<>>& entries() const { return entries_; }
  const ZipEntry* find(std::string_view name) const;  // nullptr if there is none

  // The bytes of a stored entry, in place. Throws InputError: encrypted, not stored, outside the
  // file, or a local header that contradicts the directory.
  std::span<const std::byte> stored(const std::string& name, const ZipEntry& entry) const;

  // The bytes of a deflated entry, uncompressed and checked against its CRC. Throws InputError as
  // stored(), and refuses a zip bomb: all entries together may inflate to at most 64 MiB + 20 times
  // the file.
  std::vector<std::byte> inflated(const std::string& name, const ZipEntry& entry);
  std::uint64_t inflated_bytes() const { return inflated_total_; }  // so far

 private:
  struct Directory {
    std::uint64_t offset, size, count;
  };
  Directory locate_directory() const;
  Directory locate_zip64(std::uint64_t end) const;
  void read_directory(const Directory& directory);
  std::uint64_t read_directory_entry(std::uint64_t offset, std::uint64_t end);
  void read_zip64_extra(std::span<const std::byte> extra, const std::string& name,
                        ZipEntry& entry) const;
  std::span<const std::byte> packed(const std::string& name, const ZipEntry& entry) const;

  std::span<const std::byte> bytes_;
  std::string where_;
  std::map<std::string, ZipEntry, std::less<>> entries_;
  std::uint64_t inflated_total_ = 0;
};

}  // namespace factflow
