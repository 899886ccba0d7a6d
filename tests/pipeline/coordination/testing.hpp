// Shared by the tests of the coordination: files without syncs, a plan with stages.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/file_operations.hpp"
#include "pipeline/coordination/coordinator.hpp"
#include "tests/pipeline/coordination/faulty_files.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow::testing {

// For tests that write and read thousands of files, none of which needs to survive a power cut.
class UnsyncedFiles : public FileOperations {
 public:
  int sync_data(int) override { return 0; }
  int sync_all(int) override { return 0; }
};

// A plan like the real one: for each model `units` evaluations; when all of all models are through,
// one sweep unit per evaluation. A unit's result is a function of its number alone. Unit numbers:
// model * 1000 + unit,
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
    return {unit, static_cast<std::uint32_t>(unit % 1'000'000 / 1000),
            1.0 + static_cast<double>(unit % 7), std::to_string(unit)};
  }
  std::vector<Task> stage(std::uint64_t first) const {
    std::vector<Task> tasks;
    for (std::uint32_t model = 0; model < models_; ++model)
      for (std::uint32_t unit = 0; unit < units_; ++unit)
        tasks.push_back(task(first + model * 1000 + unit));
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
