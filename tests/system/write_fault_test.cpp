// Whole runs on a file system that fails: whatever happens to any single step, the same command
// continues, and the datasets equal those of an undisturbed run.
//
// This program takes the place of factflow's system_files() (base/system_files.cpp). A run is a
// fork of it, or, on several ranks, a launch of it:  mpirun -n 3 write_fault_test CONFIG DIR FAULT
// STEP. FACTFLOW_FAULTS: at how many random steps of each kind a launch of three ranks is disturbed
// (default 2). FACTFLOW_SEED: which.
#include <csignal>
#include <cstdlib>
#include <random>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.hpp"
#include "base/exit_codes.hpp"
#include "base/files.hpp"
#include "pipeline/run/run.hpp"
#include "results/results_file.hpp"
#include "tests/pipeline/coordination/faulty_files.hpp"
#include "tests/system/program.hpp"
#include "tests/system/results_difference.hpp"
#include "tests/system/scenario.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow {
namespace {

constexpr int kCrashed = 99;

testing::FaultyFiles& faulty_files() {
  static testing::FaultyFiles files;
  return files;
}

}  // namespace

FileOperations& system_files() {
  return faulty_files();
}

namespace testing {
namespace {

using Fault = FaultyFiles::Fault;
using ::testing::HasSubstr;

// What a forked run tells the test.
struct Shared {
  int steps = 0;
};

int run_here(const std::string& config, const std::string& out, Fault fault, int step) {
  faulty_files().fault = fault;
  faulty_files().fail_at = step;
  faulty_files().end_world = [] { ::_exit(kCrashed); };
  RunOptions options;
  options.config = config;
  options.out = out;
  try {
    return run(options);
  } catch (const Error& error) {  // as main() does
    std::fprintf(stderr, "factflow: %s\n", error.what());
    return error.exit_code();
  }
}

int number_from_environment(const char* name, int fallback) {
  const char* text = std::getenv(name);
  return text == nullptr ? fallback : std::atoi(text);
}

class WriteFault : public ::testing::TestWithParam<Fault> {
 protected:
  struct Forked {
    int code = 0, steps = 0;
    std::string said;
  };

  // Threads and libtorch's pools do not survive a fork: this process itself computes nothing.
  // `largest_file`: no file may grow beyond it; 0 = no limit.
  Forked forked(const std::string& out, Fault fault = Fault::kNone, int step = 0,
                rlim_t largest_file = 0) {
    const std::string log = path("log");
    shared_->steps = 0;
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
      if (std::freopen(log.c_str(), "w", stderr) == nullptr) ::_exit(126);
      if (largest_file > 0) {
        std::signal(SIGXFSZ, SIG_IGN);
        const struct rlimit limit { largest_file, largest_file };
        ::setrlimit(RLIMIT_FSIZE, &limit);
      }
      const int code = run_here(config_, path(out), fault, step);
      shared_->steps = faulty_files().steps;
      std::fflush(nullptr);
      ::_exit(code);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), shared_->steps,
            read_file(log)};
  }

  std::string path(const std::string& name) const { return (scratch_.path() / name).string(); }

  void expect_one_clear_message(const Forked& ended, Fault fault) const {
    EXPECT_THAT(ended.said, HasSubstr("factflow: " + scratch_.path().string()))
        << "the message names the file";
    // A directory that cannot even be made is bad input.
    if (fault == Fault::kReadOnly && ended.code == kExitBadInput) {
      EXPECT_THAT(ended.said, HasSubstr("Read-only file system; choose another directory"));
      return;
    }
    EXPECT_EQ(ended.code, kExitFailed) << ended.said;
    const std::map<Fault, std::string> words = {
        {Fault::kNoSpace, "No space left on device; finished work is kept: free some space"},
        {Fault::kReadOnly,
         "Read-only file system; finished work is kept: make the directory writable"},
        {Fault::kIoError, "Input/output error"}};
    EXPECT_THAT(ended.said, HasSubstr(words.at(fault)));
  }

  void expect_continued(const std::string& out) {
    if (std::filesystem::exists(path(out) + "/results.h5"))
      ResultsReader{path(out) + "/results.h5"};
    const Forked again = forked(out);
    ASSERT_EQ(again.code, 0) << again.said;
    EXPECT_EQ(results_difference(path("whole") + "/results.h5", path(out) + "/results.h5"), "");
    remove_tree(path(out));
  }

  void SetUp() override {
    Scenario scenario;
    scenario.limit = 4;
    scenario.models = {"gpt2"};
    scenario.knockouts = kKnockoutsOfTransformers;
    scenario.windows = "[5]";
    config_ = scratch_.write("fault.yaml", scenario.yaml());
    whole_ = forked("whole");
    ASSERT_EQ(whole_.code, 0) << whole_.said;
    ASSERT_GT(whole_.steps, 30);
  }

  TemporaryDirectory scratch_;
  std::string config_;
  Forked whole_;
  // In memory that the forks share.
  Shared* shared_ = static_cast<Shared*>(
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
};

TEST_P(WriteFault, AtAnyStepLosesNothing) {
  const Fault fault = GetParam();
  const bool crash = fault == Fault::kCrash || fault == Fault::kPowerLoss;
  int disturbed = 0;
  for (int step = 1;; ++step) {
    SCOPED_TRACE(fmt::format("step {}", step));
    const Forked ended = forked("run", fault, step);
    // A step that nobody waits for (giving the lock back) or that the run does not reach (which
    // depends on how results are grouped) disturbs nothing.
    if (crash ? ended.code == kCrashed : ended.code != 0) ++disturbed;
    if (!crash && ended.code != 0) expect_one_clear_message(ended, fault);
    expect_continued("run");
    if (ended.code != kCrashed && ended.steps < step) break;
    ASSERT_LT(step, 500);
  }
  std::printf("%d steps in an undisturbed run, %d of them disturbed\n", whole_.steps, disturbed);
  if (fault == Fault::kShortWrite)
    EXPECT_EQ(disturbed, 0) << "a short write is simply continued";
  else
    EXPECT_GT(disturbed, whole_.steps / 2);
}

// mpirun -n 3, of which rank 0 alone writes.
class WriteFaultOfThreeRanks : public WriteFault {};

TEST_P(WriteFaultOfThreeRanks, AtRandomStepsLosesNothing) {
  const Fault fault = GetParam();
  std::mt19937 random(static_cast<unsigned>(number_from_environment("FACTFLOW_SEED", 20250701)));
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  for (int round = 0; round < number_from_environment("FACTFLOW_FAULTS", 2); ++round) {
    const int step = 1 + static_cast<int>(random() % static_cast<unsigned>(whole_.steps));
    SCOPED_TRACE(fmt::format("step {}", step));
    const Ended ended = run_program(
        {config_, path("run"), std::to_string(static_cast<int>(fault)), std::to_string(step)},
        {.ranks = 3, .program = self});
    EXPECT_THAT(ended.code, ::testing::AnyOf(0, 1, 2, kCrashed)) << ended.all();
    expect_continued("run");
  }
}

std::string name_of_fault(const ::testing::TestParamInfo<Fault>& info) {
  switch (info.param) {
    case Fault::kNoSpace:
      return "NoSpace";
    case Fault::kReadOnly:
      return "ReadOnly";
    case Fault::kIoError:
      return "IoError";
    case Fault::kShortWrite:
      return "ShortWrite";
    case Fault::kCrash:
      return "Crash";
    case Fault::kPowerLoss:
      return "PowerLoss";
    case Fault::kNone:
      break;
  }
  return "None";
}

INSTANTIATE_TEST_SUITE_P(Faults, WriteFault,
                         ::testing::Values(Fault::kNoSpace, Fault::kReadOnly, Fault::kIoError,
                                           Fault::kShortWrite, Fault::kCrash, Fault::kPowerLoss),
                         name_of_fault);
INSTANTIATE_TEST_SUITE_P(Faults, WriteFaultOfThreeRanks,
                         ::testing::Values(Fault::kNoSpace, Fault::kReadOnly, Fault::kIoError,
                                           Fault::kCrash, Fault::kPowerLoss),
                         name_of_fault);

// HDF5 writes by itself: no file may grow beyond a limit, which cuts the results file off anywhere.
using FileLimit = WriteFault;
TEST_F(FileLimit, AnywhereInTheResultsFileLosesNothing) {
  const auto size = static_cast<rlim_t>(std::filesystem::file_size(path("whole") + "/results.h5"));
  int disturbed = 0;
  for (rlim_t limit = 512; limit < size; limit += size / 16) {
    SCOPED_TRACE(fmt::format("limit of {} bytes", limit));
    const Forked ended = forked("run", Fault::kNone, 0, limit);
    EXPECT_EQ(ended.code, 1) << ended.said;
    EXPECT_THAT(ended.said, HasSubstr("File too large; finished work is kept: free some space"));
    ++disturbed;
    expect_continued("run");
  }
  // While it is written the file has space that closing gives back, so it is somewhat larger then.
  const Forked ended = forked("run", Fault::kNone, 0, 2 * size);
  EXPECT_EQ(ended.code, 0) << ended.said;
  expect_continued("run");
  EXPECT_GE(disturbed, 12);
}

}  // namespace
}  // namespace testing
}  // namespace factflow

int main(int argc, char** argv) {
  using factflow::testing::FaultyFiles;
  ::testing::InitGoogleTest(&argc, argv);
  if (argc != 5) return RUN_ALL_TESTS();
  const bool writes = std::atoi(std::getenv("OMPI_COMM_WORLD_RANK") == nullptr
                                    ? "0"
                                    : std::getenv("OMPI_COMM_WORLD_RANK")) == 0;
  return factflow::testing::run_here(
      argv[1], argv[2],
      writes ? static_cast<FaultyFiles::Fault>(std::atoi(argv[3])) : FaultyFiles::Fault::kNone,
      std::atoi(argv[4]));
}
