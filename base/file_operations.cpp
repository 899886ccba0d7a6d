#include "base/file_operations.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/error.hpp"

namespace factflow {

int FileOperations::open(const std::filesystem::path& path, int flags, mode_t mode) {
  return ::open(path.c_str(), flags | O_CLOEXEC, mode);
}
int FileOperations::close(int fd) {
  return ::close(fd);
}
ssize_t FileOperations::write(int fd, const void* bytes, std::size_t size) {
  return ::write(fd, bytes, size);
}
ssize_t FileOperations::pread(int fd, void* bytes, std::size_t size, std::int64_t offset) {
  return ::pread(fd, bytes, size, offset);
}
int FileOperations::truncate(int fd, std::int64_t size) {
  return ::ftruncate(fd, size);
}
int FileOperations::sync_data(int fd) {
  return ::fdatasync(fd);
}
int FileOperations::sync_all(int fd) {
  return ::fsync(fd);
}
int FileOperations::status(int fd, struct stat* status) {
  return ::fstat(fd, status);
}
int FileOperations::link(const std::filesystem::path& existing, const std::filesystem::path& name) {
  return ::link(existing.c_str(), name.c_str());
}
int FileOperations::rename(const std::filesystem::path& from, const std::filesystem::path& to) {
  return ::rename(from.c_str(), to.c_str());
}
int FileOperations::unlink(const std::filesystem::path& path) {
  return ::unlink(path.c_str());
}
int FileOperations::make_directory(const std::filesystem::path& path) {
  return ::mkdir(path.c_str(), 0777);
}
int FileOperations::touch(const std::filesystem::path& path) {
  return ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);
}
int FileOperations::lock(int fd, int operation) {
  return ::flock(fd, operation);
}

int FileOperations::list(const std::filesystem::path& directory, std::vector<std::string>* names) {
  names->clear();
  DIR* stream = ::opendir(directory.c_str());
  if (stream == nullptr) return -1;
  errno = 0;
  while (const dirent* entry = ::readdir(stream)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names->push_back(name);
  }
  const int error = errno;
  ::closedir(stream);
  errno = error;
  std::sort(names->begin(), names->end());
  return error == 0 ? 0 : -1;
}

OpenFile::~OpenFile() {
  if (fd_ >= 0) files_->close(fd_);
}
OpenFile::OpenFile(OpenFile&& other) noexcept
    : files_(other.files_), fd_(std::exchange(other.fd_, -1)) {}
OpenFile& OpenFile::operator=(OpenFile&& other) noexcept {
  std::swap(files_, other.files_);
  std::swap(fd_, other.fd_);
  return *this;
}

void throw_file_error(const std::filesystem::path& path, std::string_view action, int error) {
  std::string_view remedy;
  if (error == ENOSPC || error == EDQUOT || error == EFBIG)
    remedy = "; finished work is kept: free some space and give the same command again";
  else if (error == EACCES || error == EPERM || error == EROFS)
    remedy = "; finished work is kept: make the directory writable and give the same command again";
  throw RunError(
      fmt::format("{}: cannot {}: {}{}", path.string(), action, std::strerror(error), remedy));
}

void write_fully(FileOperations& files, int fd, const std::filesystem::path& path,
                 std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = files.write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) throw_file_error(path, "write", put == 0 ? EIO : errno);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
}

bool read_fully(FileOperations& files, int fd, const std::filesystem::path& path, void* bytes,
                std::size_t size, std::int64_t offset) {
  auto* to = static_cast<char*>(bytes);
  while (size > 0) {
    const ssize_t got = files.pread(fd, to, size, offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_file_error(path, "read", errno);
    if (got == 0) return false;
    to += got;
    offset += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

std::int64_t file_size(FileOperations& files, int fd, const std::filesystem::path& path) {
  struct stat status {};
  if (files.status(fd, &status) != 0) throw_file_error(path, "look at", errno);
  return status.st_size;
}

void sync_directory(FileOperations& files, const std::filesystem::path& directory) {
  const OpenFile handle(files, files.open(directory, O_RDONLY | O_DIRECTORY, 0));
  if (!handle || files.sync_all(handle.get()) != 0) throw_file_error(directory, "sync", errno);
}

int try_make_directories(FileOperations& files, const std::filesystem::path& directory) {
  const auto parent_of = [](const std::filesystem::path& path) {
    return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  };
  // From the directory up to the first that is there or can be made; then down again, once: where a
  // parent exists and still none can be made in it (/proc), that is the answer.
  std::vector<std::filesystem::path> missing;
  for (std::filesystem::path part = directory;; part = parent_of(part)) {
    if (files.make_directory(part) == 0) {
      sync_directory(files, parent_of(part));
      break;
    }
    if (errno == EEXIST) break;
    if (errno != ENOENT || parent_of(part) == part) return errno;
    missing.push_back(part);
  }
  for (auto part = missing.rbegin(); part != missing.rend(); ++part) {
    if (files.make_directory(*part) == 0)
      sync_directory(files, parent_of(*part));
    else if (errno != EEXIST)
      return errno;
  }
  return 0;
}

void make_directories(FileOperations& files, const std::filesystem::path& directory) {
  if (const int error = try_make_directories(files, directory); error != 0)
    throw_file_error(directory, "create", error);
}

void publish(FileOperations& files, const std::filesystem::path& finished,
             const std::filesystem::path& path) {
  {
    const OpenFile file(files, files.open(finished, O_RDWR, 0));
    if (!file || files.sync_all(file.get()) != 0) throw_file_error(path, "sync", errno);
  }
  if (files.rename(finished, path) != 0) throw_file_error(path, "publish", errno);
  sync_directory(files, path.has_parent_path() ? path.parent_path() : ".");
}

void write_new_file(FileOperations& files, const std::filesystem::path& path,
                    std::string_view bytes) {
  const OpenFile file(files, files.open(path, O_WRONLY | O_CREAT | O_EXCL, 0666));
  if (!file) throw_file_error(path, "create", errno);
  write_fully(files, file.get(), path, bytes);
  if (files.sync_all(file.get()) != 0) throw_file_error(path, "sync", errno);
}

std::string read_small_file(FileOperations& files, const std::filesystem::path& path) {
  const OpenFile file(files, files.open(path, O_RDONLY, 0));
  if (!file) {
    // ESTALE: NFS, the file was removed by another host.
    if (errno == ENOENT || errno == ESTALE) return "";
    throw_file_error(path, "open", errno);
  }
  std::string bytes(4096, '\0');
  std::size_t size = 0;
  while (size < bytes.size()) {
    const ssize_t got = files.pread(file.get(), bytes.data() + size, bytes.size() - size,
                                    static_cast<std::int64_t>(size));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == ESTALE) return "";
    if (got < 0) throw_file_error(path, "read", errno);
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace factflow
