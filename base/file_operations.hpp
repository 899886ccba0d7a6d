// The one seam between what a run leaves behind and the file system, so that tests can fill the
// disk, break it, or end the world between any two steps. (HDF5 alone writes a results file by
// itself, under a temporary name; how it gets its place goes through here.)
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <sys/stat.h>
#include <sys/types.h>

namespace factflow {

// One virtual function per system call, with its result and errno: -1 is failure. Thread-safe.
class FileOperations {
 public:
  virtual ~FileOperations() = default;
  // O_CLOEXEC is added.
  virtual int open(const std::filesystem::path& path, int flags, mode_t mode);
  virtual int close(int fd);
  virtual ssize_t write(int fd, const void* bytes, std::size_t size);
  virtual ssize_t pread(int fd, void* bytes, std::size_t size, std::int64_t offset);
  virtual int truncate(int fd, std::int64_t size);
  virtual int sync_data(int fd);  // fdatasync: the content and what is needed to read it back
  // Fsync: directories need it, their entries do not always count as data.
  virtual int sync_all(int fd);
  virtual int status(int fd, struct stat* status);
  virtual int link(const std::filesystem::path& existing,
                   const std::filesystem::path& name);  // EEXIST: name is taken
  virtual int rename(const std::filesystem::path& from, const std::filesystem::path& to);
  virtual int unlink(const std::filesystem::path& path);
  virtual int make_directory(const std::filesystem::path& path);
  virtual int touch(const std::filesystem::path&
                        path);  // modification time = now, by the clock of the file system
  virtual int lock(int fd, int operation);  // flock
  // Names in a directory, sorted, without . and ..; -1 if it cannot be read.
  virtual int list(const std::filesystem::path& directory, std::vector<std::string>* names);
};

// The real ones.
FileOperations& system_files();

// An owned descriptor of FileOperations::open.
class OpenFile {
 public:
  OpenFile() = default;
  OpenFile(FileOperations& files, int fd) : files_(&files), fd_(fd) {}
  ~OpenFile();
  OpenFile(OpenFile&& other) noexcept;
  OpenFile& operator=(OpenFile&& other) noexcept;
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  FileOperations* files_ = nullptr;
  int fd_ = -1;
};

// Helpers on top. All throw RunError "PATH: cannot ACTION: REASON", with what to do for a full disk
// or quota.
[[noreturn]] void throw_file_error(const std::filesystem::path& path, std::string_view action,
                                   int error);
void write_fully(FileOperations& files, int fd, const std::filesystem::path& path,
                 std::string_view bytes);
// Exactly `size` bytes; false if the file ends before that.
bool read_fully(FileOperations& files, int fd, const std::filesystem::path& path, void* bytes,
                std::size_t size, std::int64_t offset);
std::int64_t file_size(FileOperations& files, int fd, const std::filesystem::path& path);
void sync_directory(FileOperations& files, const std::filesystem::path& directory);
void make_directories(FileOperations& files,
                      const std::filesystem::path& directory);  // and syncs the parents it changed
// The same; 0, or the errno of a directory that cannot be made. Throws RunError if a sync fails.
int try_make_directories(FileOperations& files, const std::filesystem::path& directory);
// Gives a finished file, synced here, the name `path` in the same directory, for good.
void publish(FileOperations& files, const std::filesystem::path& finished,
             const std::filesystem::path& path);
// A new file `path` with this content, synced (its directory is not). Throws also if it exists.
void write_new_file(FileOperations& files, const std::filesystem::path& path,
                    std::string_view bytes);
// The content of a small file, or "" if it does not exist (any more).
std::string read_small_file(FileOperations& files, const std::filesystem::path& path);

}  // namespace factflow
