#include "base/child_process.hpp"

#include <csignal>
#include <cstdlib>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "base/files.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::Not;

ChildOutput shell(const std::string& command) {
  return run_child({.words = {"sh", "-c", command}});
}

TEST(ChildProcess, GivesBothStreamsAndTheCode) {
  const ChildOutput output = shell("echo out; echo err >&2; exit 3");
  EXPECT_EQ(output.code, 3);
  EXPECT_EQ(output.out, "out\n");
  EXPECT_EQ(output.err, "err\n");
  EXPECT_EQ(run_child({.words = {"/nowhere/program"}}).code, 127);
  EXPECT_EQ(run_child({.words = {"/etc/passwd"}}).code, 126);
  EXPECT_EQ(shell("kill -9 $$").code, 128 + 9);
  EXPECT_EQ(shell("yes | head -c 3000000").out.size(), size_t{1} << 20);
}

TEST(ChildProcess, TakesInputAndAFolder) {
  const TemporaryDirectory folder;
  const std::string text(300'000, 'x');
  const ChildOutput output =
      run_child({.words = {"sh", "-c", "pwd; cat > copy"}, .input = text, .folder = folder.path()});
  EXPECT_EQ(output.out, std::filesystem::canonical(folder.path()).string() + "\n");
  EXPECT_EQ(read_file(folder / "copy"), text);
  EXPECT_EQ(run_child({.words = {"cat"}}).out, "");
  EXPECT_THROW(run_child({.words = {"cat"}, .folder = folder / "nothing"}), RunError);
}

TEST(ChildProcess, SeesNothingThatTellsAProgramWhatToDo) {
  const std::map<std::string, std::string> hostile = {
      {"SBATCH_TIMELIMIT", "1"}, {"SLURM_MEM_PER_CPU", "1"}, {"OMPI_MCA_btl", "none"},
      {"GNUTERM", "x11"},        {"OMP_NUM_THREADS", "99"},  {"HF_HOME", "/nowhere"},
      {"BASH_ENV", "/nowhere"},  {"LC_NUMERIC", "de_DE"},    {"FACTFLOW_TEST_KEPT", "kept"}};
  for (const auto& [name, value] : hostile) ::setenv(name.c_str(), value.c_str(), 1);
  const std::string seen = run_child({.words = {"env"}}).out;
  const std::string more =
      run_child({.words = {"env"}, .environment = clean_environment({"FACTFLOW_TEST_KEPT"})}).out;
  for (const auto& [name, value] : hostile) ::unsetenv(name.c_str());
  EXPECT_THAT(seen, HasSubstr("PATH="));
  EXPECT_THAT(seen, HasSubstr("LC_ALL=C"));
  for (const auto& [name, value] : hostile) EXPECT_THAT(seen, Not(HasSubstr(name)));
  EXPECT_THAT(more, HasSubstr("FACTFLOW_TEST_KEPT=kept"));
}

TEST(ChildProcess, ATimeLimitEndsTheChildAndWhatItStarted) {
  const ChildProgram program{.words = {"sh", "-c", "echo begun; sleep 1000 & sleep 1000"},
                             .patience = milliseconds(200)};
  const auto start = std::chrono::steady_clock::now();
  const ChildOutput output = run_child(program);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  EXPECT_TRUE(output.timed_out);
  EXPECT_EQ(output.out, "begun\n");
  EXPECT_EQ(failure_of(program, output), "sh gave no answer within 200 ms: 'begun'");
}

TEST(ChildProcess, DoesNotWaitForWhatKeepsTheStreamsOpen) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(shell("sleep 5 & echo done").out, "done\n");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(4));
}

TEST(ChildProcess, BeginsWithSignalsAsAProgramExpectsThem) {
  ::signal(SIGUSR1, SIG_IGN);
  const ChildOutput output = shell("kill -USR1 $$; echo survived");
  ::signal(SIGUSR1, SIG_DFL);
  EXPECT_EQ(output.code, 128 + SIGUSR1);
}

TEST(ChildProcess, SeveralAtATime) {
  ChildProcess one({.words = {"sh", "-c", "sleep 0.1; echo one"}});
  ChildProcess two({.words = {"echo", "two"}});
  { ChildProcess left({.words = {"sleep", "1000"}}); }
  EXPECT_EQ(one.wait().out, "one\n");
  EXPECT_EQ(two.wait().out, "two\n");
}

TEST(ChildProcess, FailuresInWords) {
  const auto words = [](const ChildProgram& program) {
    return failure_of(program, run_child(program));
  };
  EXPECT_EQ(words({.words = {"no-such-program"}}), "no-such-program is not on this machine");
  EXPECT_EQ(words({.words = {"sh", "-c", "echo 'no: way' >&2; exit 4"}}),
            "sh ended with exit code 4: 'no: way'");
  EXPECT_EQ(words({.words = {"sh", "-c", "kill -9 $$"}}), "sh was ended by signal 9");
}

TEST(ShellCommand, ComesBackAsItWas) {
  const std::vector<std::string> words = {"printf", "%s\n", "plain/-_.:=,@%+", "a b", "it's; $HOME",
                                          "",       "a\nb", "*?[x]",           "~"};
  EXPECT_EQ(shell(shell_command(words)).out,
            "plain/-_.:=,@%+\na b\nit's; $HOME\n\na\nb\n*?[x]\n~\n");
  EXPECT_EQ(shell_command({"scancel", "--clusters=a", "1", "a?b"}), "scancel --clusters=a 1 'a?b'");
}

}  // namespace
}  // namespace factflow
