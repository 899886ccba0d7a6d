// Whole runs on the demo kit: the same bits on any number of ranks, options, and directories that
// belong to others.
#include <fstream>
#include <optional>
#include <regex>
#include <thread>

#include <gmock/gmock.h>
#include <signal.h>

#include "base/exit_codes.hpp"
#include "base/files.hpp"
#include "experiments/sweep/knockout_arrays.hpp"
#include "results/results_file.hpp"
#include "tests/source_dir.hpp"
#include "tests/system/program.hpp"
#include "tests/system/results_difference.hpp"
#include "tests/system/scenario.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

class Run : public ::testing::Test {
 protected:
  std::string config(const Scenario& scenario) const {
    return scratch_.write(scenario.name + ".yaml", scenario.yaml());
  }
  std::string out(const std::string& name) const { return (scratch_.path() / name).string(); }
  std::string results(const std::string& name) const { return out(name) + "/results.h5"; }
  // Everything in a run directory that a refused launch must not touch.
  std::map<std::string, std::string> contents(const std::string& name) const {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(out(name)))
      if (entry.is_regular_file()) files[entry.path().string()] = read_file(entry.path());
    return files;
  }

  TemporaryDirectory scratch_;
};

TEST_F(Run, AnyNumberOfRanksGivesTheSameBits) {
  const std::string file = config({});
  const Ended alone = run_program({"run", file, "--out", out("alone")});
  ASSERT_EQ(alone.code, 0) << alone.all();
  EXPECT_THAT(alone.complaints(), SizeIs(0));
  const ResultsReader reader(results("alone"));
  EXPECT_TRUE(reader.info().complete);
  ASSERT_EQ(reader.models().size(), 5U);
  EXPECT_EQ(knockout_axes(reader, "mamba").items.size(), 5U);
  EXPECT_EQ(knockout_axes(reader, "gpt2").items.size(), 3U);
  for (const int ranks : {1, 2, 3}) {
    const std::string name = fmt::format("ranks-{}", ranks);
    const Ended ended = run_program({"run", file, "--out", out(name)}, {.ranks = ranks});
    ASSERT_EQ(ended.code, 0) << ended.all();
    EXPECT_THAT(ended.err, HasSubstr(fmt::format("{} rank", ranks)));
    EXPECT_EQ(results_difference(results("alone"), results(name)), "") << ranks << " ranks";
  }
}

// Prompts that two sets share are computed for either; each set's numbers are of all its prompts or
// of none.
TEST_F(Run, ASetOfPromptsHasOnlyWhatASweepAskedOfIt) {
  const std::string file = scratch_.write(
      "sets.yaml",
      fmt::format(
          "name: sets\ndataset: {{path: '{}', limit: 12}}\n"
          "models: [{{name: gpt2, path: '{}'}}, {{name: mamba, path: '{}'}}]\n"
          "select: [{{name: few, ids: '{}'}}, {{name: every, correct_for: none}}]\n"
          "sweep:\n"
          "  - {{windows: {{sizes: [1, 3]}}, knockouts: {{from: [subject, last], to: last}}}}\n"
          "  - {{select: every, models: gpt2, windows: {{sizes: 3}}, knockouts: {{from: "
          "subject, to: last}}}}\n"
          "run: {{device: cpu, threads_per_rank: 1}}\n",
          demo_path("facts.jsonl"), demo_path("models/gpt2"), demo_path("models/mamba"),
          scratch_.write("few.txt", "0\n1\n2\n").string()));
  const Ended ended = run_program({"run", file, "--out", out("a")});
  ASSERT_EQ(ended.code, 0) << ended.all();
  const ResultsReader reader(results("a"));
  for (const std::string model : {"gpt2", "mamba"}) {
    EXPECT_EQ(prompt_sets(reader, model), (std::vector<std::string>{"few", "every"}));
    EXPECT_EQ(knockout_windows(reader, model, 0), (std::vector<std::int64_t>{1, 3}));
    EXPECT_EQ(knockout_axes(reader, model, 0).items.size(), 2U);
  }
  EXPECT_EQ(knockout_windows(reader, "gpt2", 1), std::vector<std::int64_t>{3});
  EXPECT_EQ(knockout_axes(reader, "gpt2", 1).items, std::vector<std::string>{"subject->last"});
  EXPECT_EQ(knockout_axes(reader, "gpt2", 1).prompts.size(), 12U);
  EXPECT_THAT(knockout_windows(reader, "mamba", 1), SizeIs(0));
}

TEST_F(Run, AFinishedRunIsNotComputedAgain) {
  const std::string file = config(tiny());
  ASSERT_EQ(run_program({"run", file, "--out", out("a")}).code, 0);
  const Ended again = run_program({"run", file, "--out", out("a")});
  EXPECT_EQ(again.code, 0) << again.all();
  EXPECT_THAT(again.err, HasSubstr("3 of them from before"));
}

TEST_F(Run, OfTwoLaunchesOnOneDirectoryTheSecondIsRefused) {
  const std::string file = config(many_units());
  Program first({"run", file, "--out", out("a")});
  while (first.running() && !std::filesystem::exists(out("a") + "/run.json"))
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  first.signal_launcher(SIGSTOP);  // it holds the directory, however fast it is
  for (const int ranks : {0, 2}) {
    const Ended second = run_program({"run", file, "--out", out("a")}, {.ranks = ranks});
    EXPECT_EQ(second.code, kExitBusy) << second.all();
    ASSERT_THAT(second.complaints(), SizeIs(1)) << second.all();
    EXPECT_THAT(second.complaints()[0], HasSubstr(out("a") + ": is in use by process"));
  }
  first.signal_launcher(SIGCONT);
  const Ended ended = first.wait();
  EXPECT_EQ(ended.code, 0) << ended.all();
}

TEST_F(Run, ADirectoryOfAnotherConfigurationIsRefusedAndLeftAlone) {
  Scenario scenario = tiny();
  ASSERT_EQ(run_program({"run", config(scenario), "--out", out("a")}).code, 0);
  const auto before = contents("a");
  scenario.windows = "[3]";
  const std::string other = config(scenario);
  for (const int ranks : {0, 2}) {
    const Ended refused = run_program({"run", other, "--out", out("a")}, {.ranks = ranks});
    EXPECT_EQ(refused.code, 1) << refused.all();
    ASSERT_THAT(refused.complaints(), SizeIs(1)) << refused.all();
    EXPECT_THAT(refused.complaints()[0],
                HasSubstr(out("a") + ": belongs to another configuration"));
    EXPECT_THAT(refused.complaints()[0],
                HasSubstr("this one has '    sizes: [3]', that one '    sizes: [5]'"));
    EXPECT_THAT(refused.complaints()[0], HasSubstr("--fresh"));
    EXPECT_EQ(contents("a"), before);
  }
  const Ended fresh = run_program({"run", other, "--out", out("a"), "--fresh"});
  EXPECT_EQ(fresh.code, 0) << fresh.all();
  EXPECT_EQ(knockout_windows(ResultsReader(results("a")), "gpt2"), std::vector<std::int64_t>{3});
}

TEST_F(Run, ADirectoryOfAnotherVersionIsRefusedAndLeftAlone) {
  const std::string file = config(tiny());
  ASSERT_EQ(run_program({"run", file, "--out", out("a")}).code, 0);
  std::string record = read_file(out("a") + "/run.json");
  const std::string plan = "\"plan\": \"plan ";
  ASSERT_NE(record.find(plan), std::string::npos) << record;
  record.insert(record.find(plan) + plan.size(), "1");
  const std::string version = "\"factflow\": \"";
  ASSERT_NE(record.find(version), std::string::npos) << record;
  record.replace(record.find(version) + version.size(), 5, "9.9.9");
  publish_file(out("a") + "/run.json", record);
  const auto before = contents("a");
  const Ended refused = run_program({"run", file, "--out", out("a")});
  EXPECT_EQ(refused.code, 2) << refused.all();
  ASSERT_THAT(refused.complaints(), SizeIs(1)) << refused.all();
  EXPECT_THAT(refused.complaints()[0],
              HasSubstr("was begun by another version of factflow, 9.9.9 (plan 1"));
  EXPECT_EQ(contents("a"), before);
  EXPECT_THAT(run_program({"status", out("a")}).out, HasSubstr("begun by another version"));
}

TEST_F(Run, LimitTakesTheFirstPrompts) {
  const std::string file = config(tiny());
  const Ended ended = run_program({"run", file, "--out", out("a"), "--limit", "2"});
  ASSERT_EQ(ended.code, 0) << ended.all();
  EXPECT_EQ(ResultsReader(results("a")).prompts().id.size(), 2U);
  EXPECT_EQ(run_program({"run", file, "--out", out("a"), "--limit", "3"}).code, 1);
  EXPECT_EQ(run_program({"run", file, "--out", out("b"), "--limit", "0"}).code, 2);
}

TEST_F(Run, StatusAndPlanSayHowFarItIs) {
  const std::string file = config(tiny());
  ASSERT_EQ(run_program({"run", file, "--out", out("a")}).code, 0);
  const Ended status = run_program({"status", out("a")});
  EXPECT_EQ(status.code, 0) << status.all();
  EXPECT_THAT(status.out, HasSubstr("complete, 3 of 3 units"));
  const Ended plan = run_program({"plan", file});
  EXPECT_EQ(plan.code, 0) << plan.all();
  EXPECT_THAT(plan.out, HasSubstr("sweep, 1 edge, windows"));
}

// Answers that no model gives.
std::string wrong_facts(const TemporaryDirectory& scratch) {
  std::string lines;
  for (const char* subject : {"France", "Norway", "Italy"})
    lines +=
        fmt::format(R"({{"prompt": "The capital of {0} is", "subject": "{0}", "answer": "doubt"}})"
                    "\n",
                    subject);
  return scratch.write("wrong.jsonl", lines);
}

TEST_F(Run, ASelectionWithoutPromptsSaysWhyAndFails) {
  Scenario scenario = tiny();
  scenario.dataset = wrong_facts(scratch_);
  scenario.limit = 3;
  scenario.models = {"gpt2", "mamba"};
  const std::string file = config(scenario);
  for (const int ranks : {0, 2}) {
    const std::string name = fmt::format("empty-{}", ranks);
    const Ended ended = run_program({"run", file, "--out", out(name)}, {.ranks = ranks});
    EXPECT_EQ(ended.code, 1) << ended.all();
    ASSERT_THAT(ended.complaints(), SizeIs(1)) << ended.all();
    EXPECT_THAT(ended.complaints()[0], HasSubstr("no prompt is selected"));
    EXPECT_THAT(ended.err, HasSubstr("holds none of 3 prompts for gpt2, mamba: right are gpt2 on 0 "
                                     "of 3 (0.0 %), mamba on 0 of 3 (0.0 %); select fewer models"));
    EXPECT_THAT(ended.err, HasSubstr("right on 0 (0.0 %); no prompt to sweep"));
  }
  EXPECT_EQ(run_program({"status", out("empty-0"), "--complete"}).code, 0);
  const Ended analysed = run_program({"analyse", out("empty-0")});
  EXPECT_EQ(analysed.code, 0) << analysed.all();
  EXPECT_THAT(analysed.out, HasSubstr("gpt2: no prompt is selected; the model is right on 0 of 3"));
  EXPECT_THAT(analysed.out, Not(HasSubstr("no such edge")));
  EXPECT_THAT(analysed.out, HasSubstr(" 0 figures"));  // and none is empty
}

TEST_F(Run, OneSetWithoutPromptsIsSaidAndDoesNotFailTheOthers) {
  const std::string text =
      "name: two\ndataset: {path: " + wrong_facts(scratch_) +
      "}\nmodels: {name: gpt2, path: " + demo_path("models/gpt2") +
      "}\n"
      "select: [{name: right, correct_for: self}, {name: every, correct_for: none}]\n"
      "sweep:\n"
      "  - {windows: {sizes: 3}, knockouts: {from: subject, to: last}}\n"
      "  - {select: every, windows: {sizes: 3}, knockouts: {from: last, to: last}}\n"
      "run: {device: cpu, threads_per_rank: 1}\n";
  const Ended ended = run_program({"run", scratch_.write("two.yaml", text), "--out", out("two")});
  EXPECT_EQ(ended.code, 0) << ended.all();
  EXPECT_THAT(ended.err, HasSubstr("prompt set right (right for the model itself) holds none of 3 "
                                   "prompts for gpt2"));
  EXPECT_THAT(ended.err, Not(HasSubstr("prompt set every")));
}

// "12 of 40 selected prompts swept" of a model in what a program says: {12, 40}; nothing if it says
// none.
std::optional<std::pair<int, int>> swept_of(const std::string& text, const std::string& model) {
  std::smatch found;
  const std::regex line("  " + model + ": [^\n]*; (\\d+) of (\\d+) selected prompts swept");
  if (!std::regex_search(text, found, line)) return std::nullopt;
  return std::pair{std::stoi(found[1]), std::stoi(found[2])};
}

TEST_F(Run, AStoppedRunTellsWhatIsComputedFromWhatIsMissing) {
  Program program({"run", config(many_units()), "--out", out("a")});
  const auto journal = out("a") + "/journal/main.journal";
  std::error_code none;
  // Evaluations are small, sweeps are not: more than this is some of the second, not all.
  while (program.running() && (std::filesystem::file_size(journal, none) < 60'000 || none))
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  program.signal_launcher(SIGTERM);
  const Ended stopped = program.wait();
  ASSERT_EQ(stopped.code, kExitStopped) << stopped.all();
  const Ended status = run_program({"status", out("a")}),
              analysed = run_program({"analyse", out("a")});
  const ResultsReader reader(results("a"));
  size_t missing = 0;
  for (const ModelInfo& model : reader.models()) {
    if (knockout_windows(reader, model.name).empty()) continue;
    const CellAxes axes = knockout_axes(reader, model.name);
    int computed = 0;
    for (size_t p = 0; p < axes.prompts.size(); ++p) computed += axes.blocked[p] >= 0 ? 1 : 0;
    missing += axes.prompts.size() - static_cast<size_t>(computed);
    const auto expected = std::pair{computed, static_cast<int>(axes.prompts.size())};
    EXPECT_EQ(swept_of(stopped.err, model.name), expected) << model.name << stopped.all();
    EXPECT_EQ(swept_of(status.out, model.name), expected) << model.name << status.all();
    if (computed < expected.second) {
      EXPECT_THAT(analysed.out, HasSubstr(fmt::format(
                                    "knockouts on {} of {} selected prompts, {} not computed yet",
                                    computed, expected.second, expected.second - computed)))
          << model.name;
    }
  }
  EXPECT_GT(missing, 0U) << stopped.all();
}

// A directory that cannot be written into, a disk that takes nothing: findings come all the same.
TEST_F(Run, AnalyseSaysItsFindingsWhereItCannotWriteThem) {
  const std::string file = config(tiny());
  ASSERT_EQ(run_program({"run", file, "--out", out("a")}).code, 0);
  std::ofstream(out("a") + "/tables") << "in the way";
  const Ended ended = run_program({"analyse", out("a")});
  EXPECT_EQ(ended.code, 1) << ended.all();
  EXPECT_THAT(ended.out, HasSubstr("Blocking subject"));
  ASSERT_THAT(ended.complaints(), SizeIs(1)) << ended.all();
  EXPECT_THAT(ended.err, HasSubstr("a/tables/findings.csv: cannot replace: Not a directory"));
  EXPECT_EQ(read_file(out("a") + "/tables"), "in the way");
}

TEST(CommandLine, HelpOfEveryCommandIsGood) {
  const Ended general = run_program({"--help"});
  ASSERT_EQ(general.code, 0) << general.all();
  std::istringstream lines(general.out);
  int commands = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("  ")) continue;
    const std::string name = line.substr(2, line.find(' ', 2) - 2);
    const Ended ended = run_program({name, "--help"});
    EXPECT_EQ(ended.code, 0) << name << ended.all();
    EXPECT_THAT(ended.out, StartsWith("Usage: factflow " + name));
    EXPECT_EQ(ended.err, "");
    ++commands;
  }
  EXPECT_GE(commands, 8);
}

const std::string kOracleCases = source_dir() + "/tests/oracle/cases";

TEST(CommandLine, VerifyTakesTheToleranceOfTheFamilyAndSaysWhy) {
  const auto verify = [](std::vector<std::string> more) {
    std::vector<std::string> arguments = {"verify", "--device", "cpu", "--threads", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments);
  };
  const Ended fp32 = verify({"--cases", kOracleCases + "/mamba", "--precision", "fp32"});
  EXPECT_EQ(fp32.code, 0) << fp32.all();
  EXPECT_THAT(fp32.out, HasSubstr("limit 0.0051 (three times the float32 floor of mamba, "
                                  "0.0017)\nverdict: within the limit"));
  const Ended fp64 = verify(
      {"--cases", kOracleCases + "/mamba/cases.json", "--model", kOracleCases + "/mamba_original"});
  EXPECT_EQ(fp64.code, 0) << fp64.all();
  EXPECT_THAT(fp64.out, HasSubstr("limit 1e-06 (fp64"));
  const Ended strict =
      verify({"--cases", kOracleCases + "/mamba", "--precision", "fp32", "--tolerance", "1e-12"});
  EXPECT_EQ(strict.code, 1) << strict.all();
  EXPECT_THAT(strict.out, HasSubstr("limit 1e-12 (as given)\nverdict: BEYOND the limit"));
}

TEST(CommandLine, VerifyReadsAnswersAboutLocating) {
  const Ended ended =
      run_program({"verify", "--cases", source_dir() + "/tests/oracle/cases_locate/gpt2",
                   "--precision", "fp32", "--device", "cpu", "--threads", "1"});
  EXPECT_EQ(ended.code, 0) << ended.all();
  EXPECT_THAT(ended.out, HasSubstr("traces, fp32: 2150 compared"));
  EXPECT_THAT(ended.out, HasSubstr("edits, up to 5 Adam steps, fp64: "));  // whatever is asked for
  EXPECT_THAT(ended.out, HasSubstr("verdict: within the limits: factflow and oracle agree"));
}

TEST(CommandLine, VerifyTakesADirectoryOfCheckpoints) {
  const Ended ended =
      run_program({"verify", "--cases", kOracleCases, "--device", "cpu", "--threads", "1"});
  EXPECT_EQ(ended.code, 0) << ended.all();
  EXPECT_THAT(ended.out, HasSubstr("verdict: 12 of 12 checkpoints are within their limits"));
}

TEST(CommandLine, UnknownWordsAreRefusedInOneLine) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"rum"}, "unknown command 'rum', did you mean 'run'?"},
      {{"run"}, "CONFIG is missing"},
      {{"run", "a.yaml", "--outt", "x"}, "unrecognised option '--outt'"},
      {{"run", "a.yaml", "b.yaml"}, "too many positional options"},
      {{"run", "a.yaml", "--limit", "ten"}, "the argument ('ten') for option '--limit' is invalid"},
      {{"status", "/nowhere"}, "/nowhere: there is no such directory"},
      {{"analyse", "/nowhere"}, "/nowhere"},
      {{"check", "--nothing"}, "unrecognised option '--nothing'"},
      {{"verify", "--model", "x"}, "the option '--cases' is required but missing"},
      {{"verify", "--cases", kOracleCases + "/gpt2/cases.json"}, "the option '--model' is missing"},
      {{"verify", "--cases", source_dir() + "/docs"}, "holds neither cases.json nor"},
      {{"tokenize"}, "the option '--model' is required but missing"},
      {{"plan", "/nowhere.yaml"}, "/nowhere.yaml"},
      {{"validate", "/nowhere.yaml"}, "/nowhere.yaml"},
  };
  for (const auto& [arguments, expected] : cases) {
    const Ended ended = run_program(arguments);
    EXPECT_EQ(ended.code, 2) << arguments[0] << ended.all();
    ASSERT_THAT(ended.complaints(), SizeIs(1)) << ended.all();
    EXPECT_EQ(ended.err, ended.complaints()[0] + "\n");
    EXPECT_THAT(ended.err, HasSubstr(expected));
  }
  EXPECT_EQ(run_program({}).code, 2);
}

}  // namespace
}  // namespace factflow::testing
