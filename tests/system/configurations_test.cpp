// Every file of configs/ has a test that runs it: those of configs/paper in paper_test.cpp, on
// stand-ins for their models, the others here.
//
// FACTFLOW_WHOLE=1: without --limit (tests/system/nightly.sh; `make demo` runs the largest daily).
#include <cstdlib>
#include <filesystem>
#include <set>

#include <gmock/gmock.h>

#include "results/results_file.hpp"
#include "tests/source_dir.hpp"
#include "tests/system/program.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow::testing {
namespace {

namespace fs = std::filesystem;

const fs::path kConfigs = fs::path(source_dir()) / "configs";

std::set<fs::path> files_of(const fs::path& folder) {
  std::set<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_regular_file() && entry.path().extension() == ".yaml") files.insert(entry.path());
  return files;
}

// A file in a new folder needs a test of its own, and an entry here.
TEST(Configurations, EveryFileIsInAFolderWhoseFilesAreTested) {
  std::set<fs::path> tested;
  for (const char* folder : {"", "paper", "slurm"}) tested.merge(files_of(kConfigs / folder));
  for (const auto& entry : fs::recursive_directory_iterator(kConfigs)) {
    const fs::path extension = entry.path().extension();
    const bool configuration = extension == ".yaml" || extension == ".yml" || extension == ".json";
    EXPECT_TRUE(!configuration || tested.contains(entry.path())) << entry.path() << " has no test";
  }
}

TEST(Configurations, ThoseOfTheDemoRunAndAreAnalysed) {
  const bool whole = std::getenv("FACTFLOW_WHOLE") != nullptr;
  for (const fs::path& config : files_of(kConfigs)) {
    const TemporaryDirectory scratch;
    const std::string out = (scratch / "out").string();
    std::vector<std::string> words = {"run", config.string(), "--out", out};
    if (!whole) words.insert(words.end(), {"--limit", "30"});
    const Ended run = run_program(words, {.ranks = 2});
    EXPECT_EQ(run.code, 0) << config << run.all();
    const Ended analysed = run_program({"analyse", out});
    EXPECT_EQ(analysed.code, 0) << config << analysed.all();
    EXPECT_EQ(analysed.err, "") << config;
    EXPECT_TRUE(ResultsReader(out + "/results.h5").info().complete) << config;
    EXPECT_TRUE(fs::exists(out + "/report.html")) << config;
    EXPECT_FALSE(fs::is_empty(out + "/figures")) << config;
  }
}

TEST(Configurations, TheProfilesMakeJobs) {
  for (const fs::path& profile : files_of(kConfigs / "slurm")) {
    const TemporaryDirectory scratch;
    const Ended ended =
        run_program({"submit", (kConfigs / "demo-quick.yaml").string(), "--profile",
                     profile.string(), "--dry-run", "--out", (scratch / "out").string()});
    EXPECT_EQ(ended.code, 0) << profile << ended.all();
  }
}

}  // namespace
}  // namespace factflow::testing
