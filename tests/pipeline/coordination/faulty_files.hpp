// Files that fail on purpose.
#pragma once

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>

#include <fcntl.h>

#include "base/file_operations.hpp"

namespace factflow::testing {

// The world ended: the process under test gets no further.
struct Crash {};

// Counts the calls that change something, and lets the one with number `fail_at` (from 1) go wrong.
class FaultyFiles : public FileOperations {
 public:
  enum class Fault {
    kNone,
    kNoSpace,     // and there is none later either; half of a write arrives
    kReadOnly,    // from then on
    kIoError,     // this once; half of a write arrives
    kShortWrite,  // half of it arrives, which is no error
    kCrash,
    kPowerLoss,  // a crash that takes along half of what was not synced
  };
  int fail_at = 0;
  Fault fault = Fault::kNone;
  int steps = 0;
  std::function<void()> end_world = [] { throw Crash{}; };

  int open(const std::filesystem::path& path, int flags, mode_t mode) override {
    const std::lock_guard lock(mutex_);
    if ((flags & O_CREAT) != 0 && goes_wrong(Step::kGrows)) return failure();
    const int fd = dead_ ? failure() : FileOperations::open(path, flags, mode);
    if (fd >= 0) paths_[fd] = path;
    return fd;
  }
  ssize_t write(int fd, const void* bytes, std::size_t size) override {
    const std::lock_guard lock(mutex_);
    const bool wrong = goes_wrong(Step::kWrites);
    if (dead_ || (wrong && over_)) return failure();
    synced_.try_emplace(paths_[fd], std::filesystem::file_size(paths_[fd]));
    if (!wrong) return FileOperations::write(fd, bytes, size);
    if (fault != Fault::kReadOnly) FileOperations::write(fd, bytes, size / 2);
    return fault == Fault::kShortWrite ? static_cast<ssize_t>(size / 2) : failure();
  }
  int sync_data(int fd) override {
    const std::lock_guard lock(mutex_);
    if (goes_wrong(Step::kOther)) return failure();
    synced_.erase(paths_[fd]);
    return FileOperations::sync_data(fd);
  }
  int sync_all(int fd) override {
    const std::lock_guard lock(mutex_);
    if (goes_wrong(Step::kOther)) return failure();
    synced_.erase(paths_[fd]);
    return FileOperations::sync_all(fd);
  }
  int truncate(int fd, std::int64_t size) override {
    const std::lock_guard lock(mutex_);
    return goes_wrong(Step::kOther) ? failure() : FileOperations::truncate(fd, size);
  }
  int rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    const std::lock_guard lock(mutex_);
    return goes_wrong(Step::kOther) ? failure() : FileOperations::rename(from, to);
  }
  int link(const std::filesystem::path& from, const std::filesystem::path& to) override {
    const std::lock_guard lock(mutex_);
    return goes_wrong(Step::kGrows) ? failure() : FileOperations::link(from, to);
  }
  int unlink(const std::filesystem::path& path) override {
    const std::lock_guard lock(mutex_);
    return goes_wrong(Step::kOther) ? failure() : FileOperations::unlink(path);
  }
  int make_directory(const std::filesystem::path& path) override {
    const std::lock_guard lock(mutex_);
    return goes_wrong(Step::kGrows) ? failure() : FileOperations::make_directory(path);
  }

 private:
  enum class Step { kWrites, kGrows, kOther };

  bool goes_wrong(Step step) {
    if (dead_) return true;
    // What lasts: a full disk still lets files be removed, a directory that is read-only lets
    // nothing happen.
    if (over_ && (fault == Fault::kReadOnly || (fault == Fault::kNoSpace && step != Step::kOther)))
      return true;
    return ++steps == fail_at && (fault != Fault::kShortWrite || step == Step::kWrites);
  }
  int failure() {
    if (!dead_ && (fault == Fault::kCrash || fault == Fault::kPowerLoss)) {
      dead_ = true;
      if (fault == Fault::kPowerLoss) lose_unsynced();
      end_world();
    }
    over_ = true;
    errno = fault == Fault::kNoSpace ? ENOSPC : fault == Fault::kReadOnly ? EROFS : EIO;
    return -1;
  }
  // Half of what was not synced is gone, and a byte of the rest is not what was written.
  void lose_unsynced() const {
    for (const auto& [path, synced] : synced_) {
      if (!std::filesystem::exists(path)) continue;
      const std::uintmax_t size = std::filesystem::file_size(path),
                           kept = synced + (size - synced) / 2;
      std::filesystem::resize_file(path, kept);
      if (kept == synced) continue;
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(static_cast<std::streamoff>(synced + (kept - synced) / 2));
      file.put('?');
    }
  }

  std::mutex mutex_;
  bool over_ = false;  // the fault has happened
  bool dead_ = false;  // nothing works after a crash
  std::map<int, std::filesystem::path> paths_;
  std::map<std::filesystem::path, std::uintmax_t> synced_;  // of files with more than that
};

}  // namespace factflow::testing
