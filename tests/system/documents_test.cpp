// What the program says about itself: help, manual page, completions, versions, listings; and keys
// that are set on the command line.
#include <filesystem>
#include <sstream>

#include <gmock/gmock.h>

#include "base/files.hpp"
#include "tests/system/program.hpp"
#include "tests/system/scenario.hpp"

namespace factflow::testing {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

std::string good(const std::vector<std::string>& arguments, const Start& start = {}) {
  const Ended ended = run_program(arguments, start);
  EXPECT_EQ(ended.code, 0) << ended.all();
  EXPECT_THAT(ended.err, IsEmpty());
  return ended.out;
}

void expect_refused(const std::vector<std::string>& arguments, const std::string& expected,
                    const Start& start = {}) {
  const Ended ended = run_program(arguments, start);
  EXPECT_EQ(ended.code, 2) << ended.all();
  EXPECT_THAT(ended.complaints(), SizeIs(1)) << ended.all();
  EXPECT_THAT(ended.err, HasSubstr(expected));
}

// The names in the first column of the help.
std::vector<std::string> command_names() {
  std::vector<std::string> names;
  std::istringstream lines(good({"--help"}));
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("  ") && line[2] != ' ')
      names.push_back(line.substr(2, line.find(' ', 2) - 2));
  return names;
}

TEST(Documents, EveryCommandIsExplainedWithAnExample) {
  const std::vector<std::string> names = command_names();
  EXPECT_GE(names.size(), 15u);
  for (const std::string& name : names) {
    const std::string help = good({"help", name});
    if (name == names.front()) EXPECT_EQ(help, good({name, "--help"}));
    EXPECT_THAT(help, AllOf(HasSubstr("Usage: factflow " + name),
                            HasSubstr("Examples:\n  factflow " + name)));
  }
  expect_refused({"help", "rnu"}, "unknown command 'rnu'");
  expect_refused({"help", "run", "plan"}, "one command at a time");
}

TEST(Documents, TheVersionNamesCommitLibrariesAndDevices) {
  for (const char* word : {"--version", "-V", "version"})
    EXPECT_THAT(good({word}),
                ContainsRegex("^factflow [0-9.]+, commit [0-9a-f]+.*\nlibtorch .*HDF5 "
                              "[0-9.]+, .*MPI.*\nCPU, "));
}

TEST(Documents, TheManualPageHasEveryCommandAndNoWarning) {
  TemporaryDirectory scratch;
  const std::string page = good({"man"});
  for (const std::string& name : command_names())
    EXPECT_THAT(page,
                HasSubstr(".SS \"factflow " + (name == "apply-edits" ? "apply\\-edits" : name)));
  const std::string file = scratch.write("factflow.1", page);
  const Ended shown =
      run_program({"-c", "groff -man -Tutf8 -ww -z '" + file + "' 2>&1"}, {.program = "/bin/sh"});
  EXPECT_EQ(shown.code, 0) << shown.all();
  EXPECT_THAT(shown.out, IsEmpty());
}

TEST(Documents, BashCompletesCommandsOptionsAndFiles) {
  TemporaryDirectory scratch;
  const std::string file = scratch.write("completion", good({"completion", "bash"}));
  scratch.write("some.yaml", "");
  const auto completed = [&](const std::string& words, int word) {
    return run_program({"-c", ". '" + file + "' && COMP_WORDS=(" + words +
                                  ") COMP_CWORD=" + std::to_string(word) +
                                  " && _factflow && echo \"${COMPREPLY[@]}\""},
                       {.directory = scratch.path(), .program = "/bin/bash"})
        .out;
  };
  EXPECT_EQ(completed("factflow va", 1), "validate\n");
  EXPECT_EQ(completed("factflow help tok", 2), "tokenize\n");
  EXPECT_EQ(completed("factflow run --fre", 2), "--fresh\n");
  EXPECT_EQ(completed("factflow run so", 2), "some.yaml\n");
  EXPECT_THAT(good({"completion", "zsh"}),
              AllOf(HasSubstr("#compdef factflow"), HasSubstr("'--fresh[")));
  expect_refused({"completion", "fish"}, "unknown shell 'fish'");
}

TEST(Documents, ListingsNameWhatThereIs) {
  EXPECT_THAT(good({"ls", "sites"}), ContainsRegex("(^|\n)mlp_hidden +input of the MLP"));
  EXPECT_THAT(good({"ls", "roles"}), ContainsRegex("(^|\n)subject +all tokens"));
  EXPECT_THAT(good({"ls", "kinds"}), ContainsRegex("(^|\n)trace +section `trace`"));
  EXPECT_THAT(good({"ls", "families"}), ContainsRegex("(^|\n)gpt2 "));
  EXPECT_THAT(good({"ls", "models", demo_path("models")}),
              ContainsRegex("gpt2 +gpt2, 12 layers, hidden 128\n"));
  expect_refused({"ls", "model"}, "unknown listing 'model', did you mean 'models'?");
  expect_refused({"ls", "sites", "x"}, "'x' is one word too many");
  expect_refused({"ls", "runs", "/no/such"}, "is no directory");
  TemporaryDirectory empty;
  EXPECT_THAT(good({"ls", "models", empty.path().string()}), HasSubstr("no models in "));
  EXPECT_THAT(good({"ls", "runs", empty.path().string()}), HasSubstr("no runs in "));
}

TEST(Documents, AKeyThatIsSetCountsAsIfTheFileSaidSo) {
  TemporaryDirectory scratch;
  const std::string config = scratch.write(
      "x.yaml", "name: x\ndataset: {path: " + demo_path("facts.jsonl") +
                    ", limit: 4}\nmodels: {name: gpt2, path: " + demo_path("models/gpt2") +
                    "}\nselect: {correct_for: none}\nsweep: {knockouts: {from: subject, to: last}, "
                    "windows: {sizes: 12}}\n");
  const Start start{.directory = scratch.path()};
  const Ended ended = run_program(
      {"run", config, "--out", (scratch.path() / "one").string(), "--set", "dataset.limit=2",
       "--set", "sweep.windows.sizes=[12, 6]", "--set", "run.precision=fp64"},
      start);
  EXPECT_EQ(ended.code, 0) << ended.all();
  const std::string copy = read_file(scratch.path() / "one" / "config.yaml");
  EXPECT_THAT(copy, AllOf(HasSubstr("limit: 2"), HasSubstr("sizes: [12, 6]"),
                          HasSubstr("precision: fp64")));
  expect_refused({"validate", config, "--set", "run.precison=fp64"}, "did you mean", start);
  expect_refused({"validate", config, "--set", "run.precision=fp65"},
                 "x.yaml: key run.precision: ", start);
  expect_refused({"plan", config, "--set", "sweep.windows"},
                 "--set sweep.windows: expected KEY=VALUE", start);
}

}  // namespace
}  // namespace factflow::testing
