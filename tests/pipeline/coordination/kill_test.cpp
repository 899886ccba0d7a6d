// Kills, stops and hangs processes of a run under mpirun, continues it, and compares with an
// undisturbed run. FACTFLOW_KILLS: how many random moments (default 8).
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/files.hpp"
#include "tests/pipeline/coordination/testing.hpp"

namespace factflow {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::HasSubstr;

using Results = std::map<std::uint64_t, std::string>;

// A program in a process group of its own, its output in a file.
class Process {
 public:
  Process(std::vector<std::string> words, const std::filesystem::path& log) : log_(log) {
    pid_ = ::fork();
    if (pid_ == 0) {
      ::setpgid(0, 0);
      std::freopen(log.c_str(), "a", stdout);
      ::dup2(STDOUT_FILENO, STDERR_FILENO);
      std::vector<char*> arguments;
      for (std::string& word : words) arguments.push_back(word.data());
      arguments.push_back(nullptr);
      ::execvp(arguments[0], arguments.data());
      ::_exit(127);
    }
    ::setpgid(pid_, pid_);
  }
  ~Process() {
    if (pid_ > 0) kill(SIGKILL), wait();
  }
  void kill(int number) const { ::kill(-pid_, number); }
  void signal_launcher(int number) const { ::kill(pid_, number); }
  // The exit code, or minus the number of the signal that ended it.
  int wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  std::string output() const { return read_file(log_); }

 private:
  std::filesystem::path log_;
  pid_t pid_ = -1;
};

std::vector<std::string> under_mpirun(int ranks, const std::filesystem::path& directory,
                                      const std::vector<std::string>& more = {}) {
  std::vector<std::string> words = {MPIEXEC,           "-n",  std::to_string(ranks),
                                    "--oversubscribe", RANKS, directory.string()};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

pid_t pid_of_rank(const std::filesystem::path& directory, int rank) {
  std::ifstream file(directory / "pids" / std::to_string(rank));
  pid_t pid = 0;
  file >> pid;
  return pid;
}

int kills() {
  const char* text = std::getenv("FACTFLOW_KILLS");
  return text == nullptr ? 8 : std::atoi(text);
}

Results undisturbed(std::uint32_t units = 40) {
  Results results;
  for (std::uint64_t first : {0, 1'000'000})
    for (std::uint64_t model = 0; model < 2; ++model)
      for (std::uint64_t unit = 0; unit < units; ++unit)
        results[first + model * 1000 + unit] =
            testing::StagedPlan::result_of(first + model * 1000 + unit);
  return results;
}

class Kill : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    ::setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    ::setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    ::setenv("ASAN_OPTIONS", "detect_leaks=0", 0);
  }
  Results results() const { return testing::results_in(run_ / "journal", "identity"); }
  // Whatever was ever durable must stay; returns how many units that are.
  std::size_t expect_nothing_lost(Results& before) {
    Results now = results();
    for (const auto& [unit, result] : before) EXPECT_EQ(now[unit], result);
    before = now;
    return now.size();
  }
  std::filesystem::path log() const { return scratch_ / "log"; }

  TemporaryDirectory scratch_;
  std::filesystem::path run_ = scratch_ / "run";
};

TEST_F(Kill, AnyNumberOfRanksGivesTheSame) {
  for (const int ranks : {1, 2, 3}) {
    run_ = scratch_ / fmt::format("run-{}", ranks);
    Process process(under_mpirun(ranks, run_), log());
    EXPECT_EQ(process.wait(), 0) << process.output();
    EXPECT_EQ(results(), undisturbed());
  }
  run_ = scratch_ / "alone";
  Process alone({RANKS, run_.string()}, log());
  EXPECT_EQ(alone.wait(), 0) << alone.output();
  EXPECT_EQ(results(), undisturbed());
}

TEST_F(Kill, AnyProcessAtAnyMomentLosesNothingThatWasDone) {
  constexpr std::uint32_t kUnits = 200;
  std::mt19937 random(20240501);
  Results durable;
  int interrupted = 0, finished = 0;
  for (int round = 0; round < kills(); ++round) {
    Process process(under_mpirun(3, run_, {"--units", std::to_string(kUnits)}), log());
    std::this_thread::sleep_for(milliseconds(200 + random() % 600));
    // One of the ranks, or the launcher, whose ranks then end by themselves.
    const int victim = static_cast<int>(random() % 4);
    const pid_t pid = victim < 3 ? pid_of_rank(run_, victim) : 0;
    if (pid > 0)
      ::kill(pid, SIGKILL);
    else
      process.kill(SIGKILL);
    const auto killed = steady_clock::now();
    interrupted += process.wait() != 0;
    EXPECT_LT(steady_clock::now() - killed, milliseconds(10'000))
        << "every other rank ends within seconds";
    remove_tree(run_ / "pids");
    if (expect_nothing_lost(durable) < undisturbed(kUnits).size()) continue;
    EXPECT_EQ(results(), undisturbed(kUnits));
    ++finished;
    durable.clear();
    run_ = scratch_ / fmt::format("run-after-{}", round);
  }
  std::printf("%d of %d launches were interrupted, %d runs finished\n", interrupted, kills(),
              finished);
  std::fflush(stdout);  // before the next fork
  EXPECT_GT(interrupted, 0);
  // Ranks that lost their launcher may hold the lock for a moment still.
  int code = 2;
  for (int attempt = 0; code == 2 && attempt < 50; ++attempt) {
    Process last(under_mpirun(2, run_, {"--units", std::to_string(kUnits), "--milliseconds", "0"}),
                 log());
    code = last.wait();
    if (code == 2) std::this_thread::sleep_for(milliseconds(100));
  }
  EXPECT_EQ(code, 0) << read_file(log());
  expect_nothing_lost(durable);
  EXPECT_EQ(results(), undisturbed(kUnits));
}

TEST_F(Kill, AHungRankEndsTheRunWithItsNameAndUnit) {
  Process process(under_mpirun(3, run_, {"--hang", "2"}), log());
  const auto start = steady_clock::now();
  const int code = process.wait();
  EXPECT_NE(code, 0);
  EXPECT_LT(steady_clock::now() - start, milliseconds(10'000));
  EXPECT_THAT(process.output(), HasSubstr("has not been heard of for"));
  EXPECT_THAT(process.output(), HasSubstr("worker 2 ("));
  EXPECT_THAT(process.output(), HasSubstr("while working on unit"));
  Process again(under_mpirun(3, run_), log());
  EXPECT_EQ(again.wait(), 0) << again.output();
  EXPECT_EQ(results(), undisturbed());
}

TEST_F(Kill, AHungCoordinatorDoesNotLeaveRanksBehind) {
  Process process(under_mpirun(3, run_, {"--hang", "0"}), log());
  const int code = process.wait();
  EXPECT_NE(code, 0);
  EXPECT_THAT(process.output(), HasSubstr("has not heard of the coordinator"));
  Process again(under_mpirun(3, run_), log());
  EXPECT_EQ(again.wait(), 0) << again.output();
  EXPECT_EQ(results(), undisturbed());
}

TEST_F(Kill, AFailureAtStartEndsEveryRankWithItsMessageAndCode) {
  Process process(under_mpirun(3, run_, {"--fail-start", "1"}), log());
  EXPECT_EQ(process.wait(), 2);
  EXPECT_THAT(process.output(), HasSubstr("ranks: rank 1 on "));
  EXPECT_THAT(process.output(), HasSubstr("model.safetensors: is not there on this node"));
}

TEST_F(Kill, ASecondLaunchIsRefusedWhileTheFirstRuns) {
  Process first(under_mpirun(2, run_, {"--milliseconds", "20"}), log());
  while (pid_of_rank(run_, 1) == 0) std::this_thread::sleep_for(milliseconds(5));
  Process second(under_mpirun(2, run_), scratch_ / "second");
  EXPECT_EQ(second.wait(), 4);  // busy
  EXPECT_THAT(second.output(), HasSubstr("is in use by process"));
  EXPECT_EQ(first.wait(), 0) << first.output();
  EXPECT_EQ(results(), undisturbed());
}

// SIGTERM as a scheduler sends it to a rank; SIGUSR1 as mpirun passes it on to all ranks.
TEST_F(Kill, ASignalStopsCleanlyAndTheSameCommandContinues) {
  for (const int number : {SIGTERM, SIGUSR1}) {
    run_ = scratch_ / fmt::format("run-{}", number);
    Process process(under_mpirun(2, run_, {"--milliseconds", "10"}), log());
    while (pid_of_rank(run_, 1) == 0 || pid_of_rank(run_, 0) == 0)
      std::this_thread::sleep_for(milliseconds(5));
    std::this_thread::sleep_for(milliseconds(200));
    if (number == SIGTERM)
      ::kill(pid_of_rank(run_, 0), SIGTERM);
    else
      process.signal_launcher(SIGUSR1);
    EXPECT_EQ(process.wait(), 3) << process.output();
    EXPECT_THAT(process.output(), HasSubstr("stopped: "));
    Results durable;
    EXPECT_LT(expect_nothing_lost(durable), undisturbed().size());
    Process again(under_mpirun(3, run_), log());
    EXPECT_EQ(again.wait(), 0) << again.output();
    EXPECT_THAT(again.output(),
                HasSubstr(fmt::format("complete: 160 units, {} resumed", durable.size())));
    EXPECT_EQ(results(), undisturbed());
  }
}

TEST_F(Kill, IndependentJobsShareOneDirectoryThoughOneIsKilled) {
  std::vector<std::unique_ptr<Process>> jobs;
  for (int i = 0; i < 3; ++i)
    jobs.push_back(
        std::make_unique<Process>(std::vector<std::string>{RANKS, run_.string(), "--milliseconds",
                                                           "10", "--job", fmt::format("job-{}", i)},
                                  log()));
  std::this_thread::sleep_for(milliseconds(400));
  jobs[1]->kill(SIGKILL);
  EXPECT_EQ(jobs[1]->wait(), -SIGKILL);
  EXPECT_EQ(jobs[0]->wait(), 0) << jobs[0]->output();
  EXPECT_EQ(jobs[2]->wait(), 0) << jobs[2]->output();
  EXPECT_EQ(results(), undisturbed());
}

}  // namespace
}  // namespace factflow
