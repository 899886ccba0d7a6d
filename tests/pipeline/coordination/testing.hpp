// Shared by the tests of the coordination: a scratch directory, files that fail on purpose, a plan with
// stages.
#pragma once

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "pipeline/coordination/coordinator.hpp"
#include "pipeline/coordination/file_operations.hpp"

namespace factflow::testing {

class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "factflow-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// The world ended: the process under test gets no further.
struct Crash {};

// Counts the calls that change something, and lets the one with number `fail_at` (from 1) go wrong. One
// thread.
class FaultyFiles : public FileOperations {
 public:
  enum class Fault { kNone, kNoSpace, kIoError, kShortWrite, kCrash, kPowerLoss };
  int fail_at = 0;
  Fault fault = Fault::kNone;
  int steps = 0;

  int open(const std::filesystem::path& path, int flags, mode_t mode) override {
    if ((flags & O_CREAT) != 0 && goes_wrong()) return failure();
    const int fd = dead_ ? failure() : FileOperations::open(path, flags, mode);
    if (fd >= 0) paths_[fd] = path;
    return fd;
  }
  ssize_t write(int fd, const void* bytes, std::size_t size) override {
    const bool wrong = goes_wrong(fault == Fault::kShortWrite);
    if (dead_) return failure();
    synced_.try_emplace(paths_[fd], std::filesystem::file_size(paths_[fd]));
    if (!wrong) return FileOperations::write(fd, bytes, size);
    // Half of it arrives, on a full disk too.
    FileOperations::write(fd, bytes, size / 2);
    return fault == Fault::kShortWrite ? static_cast<ssize_t>(size / 2) : failure();
  }
  int sync_data(int fd) override {
    if (goes_wrong()) return failure();
    synced_.erase(paths_[fd]);
    return FileOperations::sync_data(fd);
  }
  int sync_all(int fd) override {
    if (goes_wrong()) return failure();
    synced_.erase(paths_[fd]);
    return FileOperations::sync_all(fd);
  }
  int truncate(int fd, std::int64_t size) override {
    return goes_wrong() ? failure() : FileOperations::truncate(fd, size);
  }
  int rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    return goes_wrong() ? failure() : FileOperations::rename(from, to);
  }
  int link(const std::filesystem::path& from, const std::filesystem::path& to) override {
    return goes_wrong() ? failure() : FileOperations::link(from, to);
  }
  int unlink(const std::filesystem::path& path) override {
    return goes_wrong() ? failure() : FileOperations::unlink(path);
  }
  int make_directory(const std::filesystem::path& path) override {
    return goes_wrong() ? failure() : FileOperations::make_directory(path);
  }

 private:
  bool goes_wrong(bool write = false) {
    if (dead_) return true;
    return ++steps == fail_at && (fault != Fault::kShortWrite || write);
  }
  int failure() {
    if (!dead_ && (fault == Fault::kCrash || fault == Fault::kPowerLoss)) {
      dead_ = true;
      if (fault == Fault::kPowerLoss) lose_unsynced();
      throw Crash{};
    }
    errno = fault == Fault::kNoSpace ? ENOSPC : EIO;
    return -1;
  }
  // Half of what was not synced is gone, and a byte of the rest is not what was written.
  void lose_unsynced() const {
    for (const auto& [path, synced] : synced_) {
      if (!std::filesystem::exists(path)) continue;
      const std::uintmax_t size = std::filesystem::file_size(path), kept = synced + (size - synced) / 2;
      std::filesystem::resize_file(path, kept);
      if (kept == synced) continue;
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(static_cast<std::streamoff>(synced + (kept - synced) / 2));
      file.put('?');
    }
  }

  bool dead_ = false;  // nothing works after a crash
  std::map<int, std::filesystem::path> paths_;
  std::map<std::filesystem::path, std::uintmax_t> synced_;  // of files with more than that
};

// For tests that write and read thousands of files, none of which needs to survive a power cut.
class UnsyncedFiles : public FileOperations {
 public:
  int sync_data(int) override { return 0; }
  int sync_all(int) override { return 0; }
};

// A plan like the real one: for each model `units` evaluations; when all of all models are through, one sweep
// unit per evaluation. A unit's result is a function of its number alone. Unit numbers: model * 1000 + unit,
// + 1,000,000 for sweeps, parts of a split: 10,000,000 * part + the number.
class StagedPlan : public TaskSource {
 public:
  StagedPlan(std::uint32_t models, std::uint32_t units) : models_(models), units_(units) {}

  static std::string result_of(std::uint64_t unit) {
    return fmt::format("result of {}", unit) + std::string(unit % 97, 'x');
  }

  std::vector<Task> initial() override { return stage(0); }
  bool has_failures(const std::string& result) const override { return result.ends_with('!'); }
  std::vector<Task> completed(std::uint64_t unit, std::string result) override {
    EXPECT_EQ(has_failures(result) ? result.substr(0, result.size() - 1) : result, result_of(unit));
    EXPECT_TRUE(done.emplace(unit, result).second) << unit << " came twice";
    return next(unit);
  }
  std::vector<Task> failed(std::uint64_t unit, const std::string& reason) override {
    failures[unit] = reason;
    return next(unit);
  }
  std::vector<Task> split(std::uint64_t unit) override {
    if (!splittable.contains(unit)) return {};
    if (split_.insert(unit).second && unit < 1'000'000) ++evaluations_left_extra_;
    return {task(10'000'000 + unit), task(20'000'000 + unit)};
  }

  std::map<std::uint64_t, std::string> done;
  std::map<std::uint64_t, std::string> failures;
  std::set<std::uint64_t> splittable;

 private:
  static Task task(std::uint64_t unit) {
    return {unit, static_cast<std::uint32_t>(unit % 1'000'000 / 1000), 1.0 + static_cast<double>(unit % 7),
            std::to_string(unit)};
  }
  std::vector<Task> stage(std::uint64_t first) const {
    std::vector<Task> tasks;
    for (std::uint32_t model = 0; model < models_; ++model)
      for (std::uint32_t unit = 0; unit < units_; ++unit) tasks.push_back(task(first + model * 1000 + unit));
    return tasks;
  }
  std::vector<Task> next(std::uint64_t unit) {
    if (unit % 10'000'000 >= 1'000'000) return {};
    ++evaluations_;
    return evaluations_ == models_ * units_ + evaluations_left_extra_ ? stage(1'000'000)
                                                                      : std::vector<Task>{};
  }

  std::uint32_t models_, units_;
  std::uint32_t evaluations_ = 0, evaluations_left_extra_ = 0;
  std::set<std::uint64_t> split_;
};

inline std::map<std::uint64_t, std::string> results_in(const std::filesystem::path& directory,
                                                       const std::string& identity) {
  JournalIndex index(system_files(), directory, identity);
  std::map<std::uint64_t, std::string> results;
  index.for_each([&](const JournalRecord& record) {
    if (is_result(record.type)) results[record.unit] = record.payload;
  });
  return results;
}

}  // namespace factflow::testing
