// An analysis on a file system that fails at any single step: what an earlier one wrote stays
// whole, file by file, until its successor is, and nothing half-written is left.
//
// This program takes the place of factflow's system_files() (base/system_files.cpp).
#include <cstdlib>
#include <fstream>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "analysis/analyse.hpp"
#include "base/files.hpp"
#include "tests/analysis/synthetic_results.hpp"
#include "tests/pipeline/coordination/faulty_files.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow {
namespace {

testing::FaultyFiles* faulty_files = nullptr;

}  // namespace

FileOperations& system_files() {
  static FileOperations sound;
  return faulty_files != nullptr ? *faulty_files : sound;
}

namespace testing {
namespace {

using Fault = FaultyFiles::Fault;
using ::testing::AnyOf;
using ::testing::HasSubstr;

using Contents = std::map<std::string, std::string>;

// Pictures are gnuplot's, which knows nothing of the faults, and hold the time of drawing.
Contents contents_of(const std::filesystem::path& folder) {
  Contents contents;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file() && entry.path().parent_path().filename() != "figures")
      contents[entry.path().lexically_relative(folder).string()] = read_file(entry.path());
  return contents;
}

class AnalysisFault : public ::testing::TestWithParam<Fault> {
 protected:
  static SyntheticOptions small(std::uint64_t seed) {
    SyntheticOptions options = synthetic_report();
    options.models = {{"gpt2", "gpt2", 4, 1e8}};
    options.prompts = 12;
    options.windows = {1};
    options.edges = {"subject->last"};
    options.heatmap_prompts = 0;
    options.seed = seed;
    return options;
  }
  // A gnuplot that is quick: it can do all, and writes the ends of pictures.
  void SetUp() override {
    const std::filesystem::path program = scratch_.write(
        "bin/gnuplot",
        "#!/bin/sh\n"
        "words=$(cat)\n"
        "case \"$words\" in *GPVAL_TERMINALS*) echo svg pdfcairo pngcairo; exit;; esac\n"
        "echo \"$words\" | sed -n \"s/^set output '\\(.*\\)'\\$/\\1/p\" |\n"
        "  while read file; do echo '</svg> %%EOF IEND' > \"$file\"; done\n");
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
    path_ = std::getenv("PATH") != nullptr ? std::getenv("PATH") : "";
    ::setenv("PATH", (program.parent_path().string() + ":" + path_).c_str(), 1);
  }
  void TearDown() override { ::setenv("PATH", path_.c_str(), 1); }

  AnalysisSummary analyse_here(const std::filesystem::path& folder) const {
    AnalysisOptions options;
    options.study.bootstrap.resamples = 20;
    return analyse(folder, options);
  }
  // With the fault at this step, from 1; the number of steps it took.
  int disturbed(const std::filesystem::path& folder, Fault fault, int step,
                AnalysisSummary& summary) const {
    FaultyFiles files;
    files.fault = fault;
    files.fail_at = step;
    faulty_files = &files;
    summary = analyse_here(folder);
    faulty_files = nullptr;
    return files.steps;
  }

  TemporaryDirectory scratch_;
  std::string path_;
};

TEST_P(AnalysisFault, AtAnyStepAnEarlierAnalysisStaysWholeUntilItsSuccessorIs) {
  const std::filesystem::path run = scratch_ / "run", other = scratch_ / "other";
  for (const std::filesystem::path& folder : {run, other})
    std::filesystem::create_directories(folder);
  write_synthetic_results(run / "results.h5", small(1));
  ASSERT_EQ(analyse_here(run).problem, "");
  const Contents before = contents_of(run);
  write_synthetic_results(other / "results.h5", small(2));
  ASSERT_EQ(analyse_here(other).problem, "");
  const Contents after = contents_of(other);
  AnalysisSummary summary;
  const int steps = disturbed(other, Fault::kNone, 0, summary);
  ASSERT_GT(steps, 40);
  ASSERT_EQ(after.size(), before.size());
  // Every third step, others for each kind of fault.
  const int kind = static_cast<int>(GetParam()) % 3;
  for (int step = 1 + kind; step <= steps; step += 3) {
    remove_tree(run);
    std::filesystem::copy(other, run, std::filesystem::copy_options::recursive);
    for (const auto& [file, bytes] : before)  // the earlier analysis, and the new results
      if (file != "results.h5") std::ofstream(run / file, std::ios::binary) << bytes;
    disturbed(run, GetParam(), step, summary);
    EXPECT_THAT(summary.findings, HasSubstr("subject->last"));
    EXPECT_THAT(summary.problem,
                AnyOf(HasSubstr("No space left on device"), HasSubstr("Read-only file system"),
                      HasSubstr("Input/output error"), ""));
    const Contents now = contents_of(run);
    for (const auto& [file, bytes] : now)
      ASSERT_TRUE(before.contains(file)) << "step " << step << ": " << file << " is left";
    ASSERT_EQ(now.size(), before.size()) << "step " << step;
    for (const auto& [file, bytes] : now) {
      const bool old = bytes == before.at(file), fresh = bytes == after.at(file);
      // The report of the time before the figures were drawn.
      const bool first = file == "report.html" && bytes.ends_with("</html>\n") &&
                         bytes.find("The figures are being drawn") != std::string::npos;
      EXPECT_TRUE(old || fresh || first) << file << ", step " << step;
    }
    const bool done = summary.problem.empty();
    EXPECT_TRUE(!done || now.at("report.html") == after.at("report.html")) << "step " << step;
    // The next one mends it all.
    if (step % 10 == kind) {
      EXPECT_EQ(analyse_here(run).problem, "");
      EXPECT_EQ(contents_of(run), after);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Faults, AnalysisFault,
                         ::testing::Values(Fault::kNoSpace, Fault::kReadOnly, Fault::kIoError));

}  // namespace
}  // namespace testing
}  // namespace factflow
