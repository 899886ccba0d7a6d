#include "base/files.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <random>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <ftw.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.hpp"
#include "base/file_operations.hpp"
#include "base/paths.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

// An owned file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

size_t regular_file_size(int fd, const std::filesystem::path& path) {
  struct stat status {};
  if (fd < 0 || ::fstat(fd, &status) != 0)
    throw InputError(path.string(), fmt::format("cannot be opened: {}{}", std::strerror(errno),
                                                relative_to_what(path)));
  if (S_ISDIR(status.st_mode)) throw InputError(path.string(), "is a directory, expected a file");
  if (!S_ISREG(status.st_mode)) throw InputError(path.string(), "is not a regular file");
  return static_cast<size_t>(status.st_size);
}

}  // namespace

std::string read_file(const std::filesystem::path& path, size_t limit) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const size_t size = regular_file_size(file.get(), path);
  if (size > limit)
    throw InputError(path.string(), fmt::format("is {} large, expected at most {}",
                                                format_bytes(static_cast<double>(size)),
                                                format_bytes(static_cast<double>(limit))));
  std::string bytes(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(file.get(), bytes.data() + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0)
      throw InputError(path.string(), fmt::format("cannot be read: {}", std::strerror(errno)));
    done += static_cast<size_t>(got);
  }
  return bytes;
}

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  size_ = regular_file_size(file.get(), path);
  if (size_ == 0) return;
  void* data = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (data == MAP_FAILED)
    throw InputError(path.string(), fmt::format("cannot be mapped: {}", std::strerror(errno)));
  data_ = static_cast<const std::byte*>(data);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void publish_file(const std::filesystem::path& path, std::string_view bytes) {
  FileOperations& files = system_files();
  std::random_device random;
  const std::filesystem::path temporary =
      path.parent_path() / fmt::format(".{}.{:08x}", path.filename().string(), random());
  try {
    write_new_file(files, temporary, bytes);
    publish(files, temporary, path);
  } catch (const RunError&) {
    files.unlink(temporary);
    throw;
  }
}

void remove_tree(const std::filesystem::path& path) {
  const auto remove = [](const char* one, const struct stat*, int, struct FTW*) {
    return ::remove(one);
  };
  constexpr int kOpenDirectories = 16;
  if (::nftw(path.c_str(), remove, kOpenDirectories, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
    throw RunError(fmt::format("{} cannot be removed: {}", path.string(), std::strerror(errno)));
}

}  // namespace factflow
