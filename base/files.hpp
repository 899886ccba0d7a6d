// Reading whole files, mapping large ones, and publishing new ones so that a reader never sees half
// a file.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace factflow {

// The whole file as bytes. Throws InputError if it cannot be read or is larger than `limit` bytes.
std::string read_file(const std::filesystem::path& path, size_t limit = size_t{1} << 30);

// A read-only memory map, owned. An empty file maps to an empty span.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);  // throws InputError
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Writes `bytes` under a temporary name in the same directory, syncs file and directory, then
// renames it to `path`: after a crash at any moment `path` holds either its old content or all of
// the new. Throws RunError.
void publish_file(const std::filesystem::path& path, std::string_view bytes);

// Removes a file, or a directory with all in it; a link itself, not what it points to; nothing
// where there is nothing. Throws RunError. In place of std::filesystem::remove_all: a libtorch
// wheel exports one of its own, which crashes in a program that the linker gives it to.
void remove_tree(const std::filesystem::path& path);

}  // namespace factflow
