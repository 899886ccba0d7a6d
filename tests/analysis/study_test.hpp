// What the tests of the kinds' analyses share: a folder of a test's own, runs in it, and the study
// of what is written there.
#pragma once

#include <filesystem>
#include <list>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

#include "analysis/analyse.hpp"
#include "analysis/load_runs.hpp"
#include "analysis/study.hpp"
#include "base/files.hpp"
#include "results/results_file.hpp"
#include "tests/analysis/synthetic_results.hpp"

namespace factflow {

class StudyTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string suite =
        testing::UnitTest::GetInstance()->current_test_info()->test_suite_name();
    folder_ = std::filesystem::path(testing::TempDir()) /
              ("factflow_" + suite + "_" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { remove_tree(folder_); }

  // Of results.h5 in the folder.
  Study study(StudyOptions options = {}) {
    readers_.emplace_back(folder_ / "results.h5");
    options.bootstrap.resamples = 50;
    return make_study(load_runs({&readers_.back()}), options);
  }
  static AnalysisOptions quick() {
    AnalysisOptions options;
    options.study.bootstrap.resamples = 50;
    return options;
  }
  // A run of two models without heat maps and failures.
  static SyntheticOptions two_models(int prompts) {
    SyntheticOptions options = synthetic_report();
    options.models = {{"gpt2", "gpt2", 8, 1e8}, {"mamba", "mamba", 12, 1e8}};
    options.prompts = prompts;
    options.heatmap_prompts = 0;
    options.failed_share = 0;
    return options;
  }
  std::filesystem::path run(const std::string& name, const SyntheticOptions& options) const {
    std::filesystem::create_directories(folder_ / name);
    write_synthetic_results(folder_ / name / "results.h5", options);
    return folder_ / name;
  }
  std::string text(const std::string& file) const { return read_file(folder_ / file); }

  std::filesystem::path folder_;
  std::list<ResultsReader> readers_;  // which studies look into
};

}  // namespace factflow
