// Kills a run of three ranks at random moments, continues it by the same command, and compares its
// datasets with those of an undisturbed run, bit for bit. FACTFLOW_KILLS: how many moments (default
// 30). FACTFLOW_SEED: which ones.
#include <cstdlib>
#include <map>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <signal.h>

#include "base/files.hpp"
#include "experiments/evaluate/evaluate.hpp"
#include "pipeline/coordination/journal.hpp"
#include "pipeline/run/run_plan.hpp"
#include "results/results_file.hpp"
#include "tests/system/program.hpp"
#include "tests/system/results_difference.hpp"
#include "tests/system/scenario.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow::testing {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

int number_from_environment(const char* name, int fallback) {
  const char* text = std::getenv(name);
  return text == nullptr ? fallback : std::atoi(text);
}

// How far the run was when it died.
enum class Phase { kStart, kEvaluate, kSweep, kPublish, kEnd };
constexpr const char* kPhaseNames[] = {"start", "evaluate", "sweep", "publish", "end"};

Scenario killed_scenario() {
  Scenario scenario = many_units();
  scenario.name = "killed";
  scenario.limit = 16;
  scenario.models = {"gpt2", "mamba"};
  scenario.heatmaps = 16;
  return scenario;
}

class Killed : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto begin = steady_clock::now();
    const Ended ended = run_program(command("undisturbed"), {.ranks = 3});
    ASSERT_EQ(ended.code, 0) << ended.all();
    whole_duration_ = duration_cast<milliseconds>(steady_clock::now() - begin);
    whole_bytes_ = journal_bytes("undisturbed");
    whole_units_ = ResultsReader(out("undisturbed") + "/results.h5").info().units_planned;
  }

  std::string out(const std::string& name) const { return (scratch_.path() / name).string(); }
  std::vector<std::string> command(const std::string& name) const {
    return {"run", config_, "--out", out(name)};
  }

  std::uintmax_t journal_bytes(const std::string& name) const {
    std::error_code ignored;
    const std::uintmax_t bytes =
        std::filesystem::file_size(out(name) + "/journal/main.journal", ignored);
    return ignored ? 0 : bytes;
  }

  // When to kill: `wait` after the journal has grown to `bytes`, which 0 leaves out.
  struct Moment {
    std::uintmax_t bytes = 0;
    std::chrono::duration<double, std::milli> wait{0};
  };

  // Points in time, most of them before the first unit; or what follows on a point of the journal's
  // growth: its first unit (an evaluation), any, or its last.
  Moment random_moment() {
    const unsigned kind = static_cast<unsigned>(random_() % 5);
    const double share = static_cast<double>(random_() % 1000) / 1000;
    if (kind <= 1) return {.wait = whole_duration_ * share};
    const std::uintmax_t any =
        static_cast<std::uintmax_t>(share * static_cast<double>(whole_bytes_));
    const std::uintmax_t bytes = kind == 2   ? kJournalHeaderBytes + 1
                                 : kind == 3 ? any
                                             : whole_bytes_;
    return {.bytes = bytes, .wait = milliseconds(30) * share};
  }

  Moment moment_in(Phase phase) const {
    switch (phase) {
      case Phase::kStart:
        return {};
      case Phase::kEvaluate:
        return {.bytes = kJournalHeaderBytes + 1};
      case Phase::kSweep:
        return {.bytes = whole_bytes_ * 3 / 4};
      case Phase::kPublish:
      case Phase::kEnd:
        return {.bytes = whole_bytes_};
    }
    return {};
  }

  // The ranks, looked for while there is time: the kill itself then comes at once.
  std::vector<pid_t> wait_for(const Moment& moment, Program& program, const std::string& name) {
    std::vector<pid_t> ranks;
    while (program.running() && journal_bytes(name) < moment.bytes) {
      if (ranks.empty() && journal_bytes(name) > 0) ranks = program.ranks();
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    std::this_thread::sleep_for(moment.wait);
    return ranks.empty() ? program.ranks() : ranks;
  }

  Phase phase_of(const std::string& name) const {
    const std::filesystem::path results = out(name) + "/results.h5";
    if (std::filesystem::exists(results) && ResultsReader(results).info().complete)
      return Phase::kEnd;
    const std::filesystem::path record = out(name) + "/run.json";
    if (journal_bytes(name) == 0) return Phase::kStart;
    const JournalIndex journal(system_files(), out(name) + "/journal", identity(record));
    if (journal.units() == 0) return Phase::kStart;
    if (journal.units() == static_cast<size_t>(whole_units_)) return Phase::kPublish;
    bool swept = false;
    journal.for_each([&](const JournalRecord& unit) {
      swept = swept || unit_named({unit.unit, unit.selection}).kind != evaluate_kind().number();
    });
    return swept ? Phase::kSweep : Phase::kEvaluate;
  }

  static std::string identity(const std::filesystem::path& record) {
    return nlohmann::json::parse(read_file(record)).at("identity").get<std::string>();
  }

  // One of the ranks, all of them, or the launcher, whose ranks then end by themselves.
  void kill_something(const Program& program, const std::vector<pid_t>& ranks) {
    const unsigned victim = static_cast<unsigned>(random_() % 5);
    if (victim < ranks.size())
      ::kill(ranks[victim], SIGKILL);
    else if (victim == 3)
      for (const pid_t rank : ranks) ::kill(rank, SIGKILL);
    else
      program.signal_launcher(SIGKILL);
  }

  void wait_until_gone(const std::vector<pid_t>& processes) {
    const auto deadline = steady_clock::now() + std::chrono::seconds(30);
    for (const pid_t process : processes)
      while (alive(process)) {
        ASSERT_LT(steady_clock::now(), deadline) << "process " << process << " did not end";
        std::this_thread::sleep_for(milliseconds(5));
      }
  }

  void one_round(const std::string& name, const Moment& moment) {
    Program program(command(name), {.ranks = 3});
    const std::vector<pid_t> ranks = wait_for(moment, program, name);
    kill_something(program, ranks);
    program.wait();
    wait_until_gone(ranks);
    const Phase phase = phase_of(name);
    SCOPED_TRACE(kPhaseNames[static_cast<int>(phase)]);
    ++rounds_[phase];
    const std::uintmax_t durable = journal_bytes(name);
    const Ended continued = run_program(command(name), {.ranks = static_cast<int>(random_() % 4)});
    ASSERT_EQ(continued.code, 0) << continued.all();
    EXPECT_GE(journal_bytes(name), durable);
    EXPECT_EQ(results_difference(out("undisturbed") + "/results.h5", out(name) + "/results.h5"),
              "");
    remove_tree(out(name));
  }

  TemporaryDirectory scratch_;
  const std::string config_ = scratch_.write("killed.yaml", killed_scenario().yaml());
  std::mt19937 random_{static_cast<unsigned>(number_from_environment("FACTFLOW_SEED", 20250701))};
  milliseconds whole_duration_{0};
  std::uintmax_t whole_bytes_ = 0;
  std::int64_t whole_units_ = 0;
  std::map<Phase, int> rounds_;
};

TEST_F(Killed, AtRandomMomentsLosesNothing) {
  const int kills = number_from_environment("FACTFLOW_KILLS", 30);
  for (int round = 0; round < kills && !HasFatalFailure(); ++round) {
    SCOPED_TRACE(fmt::format("round {}", round));
    one_round(fmt::format("round-{}", round), random_moment());
  }
  // How long each phase takes differs by machine, so moments may have missed a short one: aim at
  // it.
  const std::vector<Phase> phases = {Phase::kStart, Phase::kEvaluate, Phase::kSweep,
                                     Phase::kPublish};
  for (const Phase phase : phases)
    for (int aimed = 0; kills >= 30 && aimed < 20 && rounds_[phase] == 0 && !HasFatalFailure();
         ++aimed) {
      SCOPED_TRACE(fmt::format("aimed round {}", aimed));
      one_round(fmt::format("aimed-{}-{}", static_cast<int>(phase), aimed), moment_in(phase));
    }
  for (const auto& [phase, rounds] : rounds_)
    std::printf("%d runs died in phase %s\n", rounds, kPhaseNames[static_cast<int>(phase)]);
  if (kills < 30) return;
  for (const Phase phase : phases)
    EXPECT_GT(rounds_[phase], 0) << "no moment hit the phase "
                                 << kPhaseNames[static_cast<int>(phase)];
}

}  // namespace
}  // namespace factflow::testing
