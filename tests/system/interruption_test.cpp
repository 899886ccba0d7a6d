// Runs that are stopped or that hang, and continued by the same command: the datasets equal those
// of an undisturbed run.
#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include "base/exit_codes.hpp"
#include "base/files.hpp"
#include "results/results_file.hpp"
#include "tests/system/program.hpp"
#include "tests/system/results_difference.hpp"
#include "tests/system/scenario.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::HasSubstr;

class Interruption : public ::testing::Test {
 protected:
  // The undisturbed run, once for all tests.
  static void SetUpTestSuite() {
    scratch_ = std::make_unique<TemporaryDirectory>();
    config_ = scratch_->write("units.yaml", many_units().yaml());
    const Ended ended = run_program({"run", config_, "--out", out("undisturbed")}, {.ranks = 3});
    ASSERT_EQ(ended.code, 0) << ended.all();
  }
  static void TearDownTestSuite() { scratch_.reset(); }

  static std::string out(const std::string& name) { return (scratch_->path() / name).string(); }
  static std::vector<std::string> command(const std::string& name) {
    return {"run", config_, "--out", out(name)};
  }

  static std::uintmax_t journal_bytes(const std::string& name) {
    std::error_code ignored;
    const std::uintmax_t bytes =
        std::filesystem::file_size(out(name) + "/journal/main.journal", ignored);
    return ignored ? 0 : bytes;
  }
  // Until the journal holds results, so that something is there to be continued.
  static void wait_for_results(Program& program, const std::string& name) {
    while (program.running() && journal_bytes(name) < 1000)
      std::this_thread::sleep_for(milliseconds(2));
  }
  static void wait_until_gone(const std::vector<pid_t>& processes) {
    const auto deadline = steady_clock::now() + std::chrono::seconds(60);
    for (const pid_t process : processes)
      while (alive(process)) {
        ASSERT_LT(steady_clock::now(), deadline) << "process " << process << " did not end";
        std::this_thread::sleep_for(milliseconds(5));
      }
  }
  static void expect_equal_to_undisturbed(const std::string& name) {
    EXPECT_EQ(results_difference(out("undisturbed") + "/results.h5", out(name) + "/results.h5"),
              "");
  }

  static std::unique_ptr<TemporaryDirectory> scratch_;
  static std::string config_;
};

std::unique_ptr<TemporaryDirectory> Interruption::scratch_;
std::string Interruption::config_;

TEST_F(Interruption, AStoppedRunSaysSoAndIsContinued) {
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) {
    const std::string name = fmt::format("signal-{}", signal);
    Program program(command(name));
    wait_for_results(program, name);
    program.signal_launcher(signal);
    const Ended stopped = program.wait();
    EXPECT_EQ(stopped.code, kExitStopped) << stopped.all();
    EXPECT_THAT(stopped.err, HasSubstr("the same command continues"));
    EXPECT_THAT(stopped.complaints(), ::testing::IsEmpty());
    ASSERT_FALSE(ResultsReader(out(name) + "/results.h5").info().complete);
    const Ended continued = run_program(command(name), {.ranks = 2});
    EXPECT_EQ(continued.code, 0) << continued.all();
    EXPECT_THAT(continued.err, HasSubstr("of them from before"));
    expect_equal_to_undisturbed(name);
  }
}

// Of a process: whether it handles a signal itself, and the seconds of a processor that it has
// used.
bool handles(pid_t process, int signal) {
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("SigCgt:"))
      return (std::stoull(line.substr(7), nullptr, 16) >> (signal - 1) & 1) != 0;
  return false;
}
double processor_seconds(pid_t process) {
  std::ifstream stat("/proc/" + std::to_string(process) + "/stat");
  std::string word;
  for (int field = 1; field < 14; ++field) stat >> word;  // its name holds no spaces
  double user = 0, system = 0;
  stat >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

// The libraries take longer than that to start; that they are loaded takes about half of it.
TEST_F(Interruption, ASignalThatComesBeforeTheProgramHasBegunStopsItInGoodOrder) {
  Program program(command("early"));
  pid_t process = 0;
  while (program.running() &&
         (process == 0 || (!handles(process, SIGUSR1) && processor_seconds(process) < 0.45))) {
    if (const std::vector<pid_t> ranks = program.ranks(); !ranks.empty()) process = ranks[0];
    std::this_thread::sleep_for(milliseconds(1));
  }
  program.signal_launcher(SIGUSR1);
  const Ended stopped = program.wait();
  EXPECT_EQ(stopped.code, kExitStopped) << stopped.all();
  EXPECT_THAT(stopped.err, HasSubstr("the same command continues"));
  EXPECT_EQ(run_program(command("early")).code, 0);
}

TEST_F(Interruption, TheTimeForUnitsInWorkIsTheCallers) {
  for (const auto& [seconds, said] :
       {std::pair<std::string, std::string>{"240", "4 min 0 s"}, {"0", "0 ms"}}) {
    const std::string name = "stop-within-" + seconds;
    std::vector<std::string> words = command(name);
    words.insert(words.end(), {"--stop-within", seconds});
    Program program(words);
    wait_for_results(program, name);
    program.signal_launcher(SIGUSR1);
    const Ended stopped = program.wait();
    EXPECT_EQ(stopped.code, kExitStopped) << stopped.all();
    EXPECT_THAT(stopped.err, HasSubstr("waiting up to " + said + " for what is in work"));
  }
  EXPECT_EQ(run_program({"run", config_, "--stop-within", "-1"}).code, 2);
}

TEST_F(Interruption, MpirunPassesTheSignalOn) {
  Program program(command("mpirun"), {.ranks = 3});
  wait_for_results(program, "mpirun");
  program.signal_launcher(SIGUSR1);
  const Ended stopped = program.wait();
  EXPECT_EQ(stopped.code, kExitStopped) << stopped.all();
  EXPECT_FALSE(ResultsReader(out("mpirun") + "/results.h5").info().complete);
  const Ended continued = run_program(command("mpirun"));
  EXPECT_EQ(continued.code, 0) << continued.all();
  expect_equal_to_undisturbed("mpirun");
}

TEST_F(Interruption, TwoSignalsEndAtOnce) {
  Program program(command("twice"));
  wait_for_results(program, "twice");
  program.signal_launcher(SIGTERM);
  std::this_thread::sleep_for(milliseconds(50));
  program.signal_launcher(SIGTERM);
  const auto begin = steady_clock::now();
  const Ended stopped = program.wait();
  EXPECT_EQ(stopped.code, kExitStopped) << stopped.all();
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(20));
  EXPECT_EQ(run_program(command("twice")).code, 0);
  expect_equal_to_undisturbed("twice");
}

// A rank that hangs: SIGSTOP in the middle of the sweep.
TEST_F(Interruption, AHungRankEndsTheRunWithItsNameAndUnit) {
  std::string yaml = many_units().yaml();
  yaml.replace(yaml.find("run: {"), 6, "run: {heartbeat_timeout: 3, ");
  const std::string config = scratch_->write("impatient.yaml", yaml);
  const std::vector<std::string> words = {"run", config, "--out", out("hung")};
  Program program(words, {.ranks = 3});
  wait_for_results(program, "hung");
  const std::vector<pid_t> ranks = program.ranks();
  ASSERT_EQ(ranks.size(), 3U);
  ::kill(ranks[2], SIGSTOP);
  const auto begin = steady_clock::now();
  const Ended ended = program.wait();
  EXPECT_EQ(ended.code, 1) << ended.all();
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(15))
      << "every other rank ends within seconds";
  EXPECT_THAT(ended.err,
              HasSubstr(fmt::format("process {}) has not been heard of for 3", ranks[2])));
  EXPECT_THAT(ended.err,
              ::testing::ContainsRegex(
                  "while working on unit \"(evaluate|sweep|heatmap) of [a-z0-9]+, prompts"));
  wait_until_gone(ranks);
  const Ended continued = run_program(words, {.ranks = 2});
  EXPECT_EQ(continued.code, 0) << continued.all();
  expect_equal_to_undisturbed("hung");
}

}  // namespace
}  // namespace factflow::testing
