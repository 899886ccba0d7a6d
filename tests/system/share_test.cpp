// Independent launches that share one directory, as array jobs do.
#include <thread>

#include <gmock/gmock.h>
#include <signal.h>

#include "base/exit_codes.hpp"
#include "results/results_file.hpp"
#include "tests/system/program.hpp"
#include "tests/system/results_difference.hpp"
#include "tests/system/scenario.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

class Share : public ::testing::Test {
 protected:
  std::string out(const std::string& name) const { return (scratch_.path() / name).string(); }
  std::vector<std::string> sharing() const {
    return {"run", config_, "--out", out("shared"), "--share"};
  }
  void expect_equal_to_undisturbed() const {
    ASSERT_EQ(run_program({"run", config_, "--out", out("alone")}, {.ranks = 2}).code, 0);
    EXPECT_EQ(results_difference(out("alone") + "/results.h5", out("shared") + "/results.h5"), "");
  }
  std::vector<std::string> journals() const {
    std::vector<std::string> names;
    std::error_code none_yet;
    for (const auto& entry :
         std::filesystem::directory_iterator(out("shared") + "/journal", none_yet))
      if (entry.path().extension() == ".journal") names.push_back(entry.path().string());
    return names;
  }

  TemporaryDirectory scratch_;
  std::string config_ = scratch_.write("units.yaml", many_units().yaml());
};

TEST_F(Share, SeveralLaunchesTogetherMakeOneRun) {
  std::vector<std::unique_ptr<Program>> programs;
  for (const int ranks : {0, 0, 2})
    programs.push_back(std::make_unique<Program>(sharing(), Start{.ranks = ranks}));
  for (const auto& program : programs) {
    const Ended ended = program->wait();
    EXPECT_EQ(ended.code, 0) << ended.all();
    EXPECT_THAT(ended.err, HasSubstr("complete: "));
  }
  EXPECT_THAT(journals(), SizeIs(3));
  expect_equal_to_undisturbed();
}

TEST_F(Share, WhatAKilledLaunchHeldIsTakenOver) {
  Program victim(sharing());
  while (victim.running() && journals().empty())
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  Program survivor(sharing());
  std::this_thread::sleep_for(std::chrono::milliseconds(700));
  victim.signal_launcher(SIGKILL);
  victim.wait();
  const Ended ended = survivor.wait();
  EXPECT_EQ(ended.code, 0) << ended.all();
  expect_equal_to_undisturbed();
}

TEST_F(Share, AStoppedLaunchLeavesTheRestToTheOthers) {
  Program stopped(sharing()), other(sharing());
  while (stopped.running() && journals().size() < 2)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  stopped.signal_launcher(SIGUSR1);
  const Ended early = stopped.wait();
  EXPECT_EQ(early.code, kExitStopped) << early.all();
  const Ended ended = other.wait();
  EXPECT_EQ(ended.code, 0) << ended.all();
  expect_equal_to_undisturbed();
}

TEST_F(Share, DoesNotGoWithALaunchThatWantsTheDirectoryForItself) {
  Program alone({"run", config_, "--out", out("shared")});
  while (alone.running() && journals().empty())
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  alone.signal_launcher(SIGSTOP);
  const Ended refused = run_program(sharing());
  EXPECT_EQ(refused.code, kExitBusy) << refused.all();
  EXPECT_THAT(refused.err, HasSubstr("is in use by process"));
  // With --wait it begins when the other has ended.
  std::vector<std::string> patient = sharing();
  patient.insert(patient.end(), {"--wait", "200"});
  Program waiting(patient);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  EXPECT_TRUE(waiting.running());
  alone.signal_launcher(SIGKILL);
  alone.wait();
  const Ended ended = waiting.wait();
  EXPECT_EQ(ended.code, 0) << ended.all();
  expect_equal_to_undisturbed();
}

TEST_F(Share, DoesNotGoWithFresh) {
  std::vector<std::string> words = sharing();
  words.push_back("--fresh");
  EXPECT_EQ(run_program(words).code, 2);
}

}  // namespace
}  // namespace factflow::testing
