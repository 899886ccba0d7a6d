// What somebody sees before and while things run: init, --json, --dry-run, -q and -v, accuracy,
// progress, status.
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <signal.h>

#include "base/exit_codes.hpp"
#include "base/files.hpp"
#include "tests/system/program.hpp"
#include "tests/system/scenario.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class Beginning : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return (scratch_.path() / name).string(); }
  std::string config(const Scenario& scenario) const {
    return scratch_.write("x.yaml", scenario.yaml());
  }
  // In the scratch directory.
  Ended run(const std::vector<std::string>& arguments, Start start = {}) const {
    start.directory = scratch_.path();
    return run_program(arguments, start);
  }
  Ended good(const std::vector<std::string>& arguments, const Start& start = {}) const {
    Ended ended = run(arguments, start);
    EXPECT_EQ(ended.code, 0) << ended.all();
    return ended;
  }
  void expect_refused(const std::vector<std::string>& arguments, const std::string& expected,
                      const Start& start = {}) const {
    const Ended ended = run(arguments, start);
    EXPECT_EQ(ended.code, 2) << ended.all();
    EXPECT_THAT(ended.complaints(), SizeIs(1)) << ended.all();
    EXPECT_THAT(ended.err, HasSubstr(expected));
  }
  nlohmann::json json(const std::vector<std::string>& arguments) const {
    const Ended ended = good(arguments);
    EXPECT_THAT(ended.err, IsEmpty());
    return nlohmann::json::parse(ended.out);
  }

  TemporaryDirectory scratch_;
};

// ---- init

TEST_F(Beginning, AConfigurationForAFolderOfCheckpointsIsGoodAsItStands) {
  const Ended ended = good({"init", demo_path("models"), "--dataset", demo_path("facts.jsonl"),
                            "--limit", "12", "--name", "mine"});
  EXPECT_THAT(ended.err, AllOf(HasSubstr("mine.yaml: 12 prompts"), HasSubstr("gpt2"),
                               HasSubstr("next: factflow validate mine.yaml")));
  const std::string yaml = read_file(path("mine.yaml"));
  EXPECT_THAT(yaml,
              AllOf(HasSubstr("channels: [slow, fast]"), HasSubstr("path: [attention, recurrent]"),
                    HasSubstr("# gpt2, 12 layers"), HasSubstr("sizes: [1, 5")));
  EXPECT_THAT(good({"validate", "mine.yaml"}).out, HasSubstr("mine.yaml: good"));
  expect_refused(
      {"init", demo_path("models"), "--dataset", demo_path("facts.jsonl"), "--name", "mine"},
      "mine.yaml: is there already");
  // What it offers in a comment is good, too.
  std::string more = yaml;
  const std::string trace = "# trace:";
  ASSERT_NE(more.find(trace), std::string::npos);
  more.erase(more.find(trace), 2);
  scratch_.write("more.yaml", more);
  EXPECT_THAT(good({"validate", "more.yaml"}).out, HasSubstr("more.yaml: good"));
}

TEST_F(Beginning, ATransformerAloneIsAskedWhatItHas) {
  const Ended ended = good({"init", demo_path("models/gpt2"), demo_path("models/gpt2/../gpt2"),
                            "--dataset", demo_path("facts.jsonl"), "--limit", "4", "--out", "-"});
  EXPECT_THAT(ended.out, AllOf(HasSubstr("name: gpt2"), Not(HasSubstr("channels")),
                               Not(HasSubstr("recurrent")), Not(HasSubstr("gpt2-2"))));
  scratch_.write("one.yaml", ended.out);
  const Ended ran = good({"run", "one.yaml"});
  EXPECT_THAT(ran.err, HasSubstr("complete:"));
}

TEST_F(Beginning, WhatCannotBeAskedIsLeftOutWithTheReason) {
  fs::create_directories(scratch_ / "models");
  fs::copy(demo_path("models/gpt2"), scratch_ / "models/it's all", fs::copy_options::recursive);
  fs::copy(demo_path("models/gpt2"), scratch_ / "models/gpt2", fs::copy_options::recursive);
  fs::copy(demo_path("models/gpt2"), scratch_ / "models/all", fs::copy_options::recursive);
  fs::copy(demo_path("models/gpt2"), scratch_ / "models/broken", fs::copy_options::recursive);
  fs::remove(scratch_ / "models/broken/tokenizer.json");
  fs::copy(demo_path("models/gpt2"), scratch_ / "models/a\nb", fs::copy_options::recursive);
  scratch_.write("models/other/config.json", R"({"model_type": "resnet"})");
  scratch_.write("models/other/model.safetensors", "x");
  const Ended ended =
      good({"init", "models", "--dataset", demo_path("facts.jsonl"), "--limit", "4"});
  EXPECT_THAT(ended.err, AllOf(HasSubstr("/a?b': "), ContainsRegex("left out: .*/broken: "),
                               ContainsRegex("left out: .*/other: .*unknown model family")));
  EXPECT_THAT(read_file(path("sweep.yaml")),
              AllOf(HasSubstr("{name: it-s-all, path: '"), HasSubstr("/it''s all'}"),
                    HasSubstr("{name: model-all, "), HasSubstr("#    - {name: broken,")));
  good({"validate", "sweep.yaml"});
  expect_refused({"init", "models/other", "--dataset", demo_path("facts.jsonl"), "--force"},
                 "unknown model family 'resnet'");
}

TEST_F(Beginning, TheHubsCacheIsLookedThroughWhereNothingIsNamed) {
  const std::string commit = "0123456789abcdef0123456789abcdef01234567";
  const fs::path model = scratch_ / "cache/models--org--small--gpt2";
  scratch_.write("cache/models--org--small--gpt2/refs/main", commit);
  fs::create_directories(model / "snapshots");
  fs::copy(demo_path("models/gpt2"), model / "snapshots" / commit, fs::copy_options::recursive);
  fs::create_directories(scratch_ / "cache/models--org--empty");
  fs::create_directories(scratch_ / "cache/datasets--org--facts");
  const Start cached = {.environment = {{"HF_HUB_CACHE", path("cache")}}};
  good({"init", "--dataset", demo_path("facts.jsonl"), "--limit", "4"}, cached);
  EXPECT_THAT(read_file(path("sweep.yaml")),
              HasSubstr("{name: small--gpt2, path: 'hf:org/small--gpt2'}"));
  good({"validate", "sweep.yaml"}, cached);
  expect_refused({"init", "--dataset", demo_path("facts.jsonl"), "--out", "y.yaml"},
                 "holds no checkpoint", {.environment = {{"HF_HUB_CACHE", path("nowhere")}}});
}

TEST_F(Beginning, WhatInitCannotUseIsRefused) {
  const std::string model = demo_path("models/gpt2"), facts = demo_path("facts.jsonl");
  expect_refused({"init", model}, "the option '--dataset' is required but missing");
  expect_refused({"init", model, "--dataset", "none.jsonl"}, "none.jsonl");
  expect_refused({"init", "none", "--dataset", facts}, "none: is no directory");
  fs::create_directories(scratch_ / "empty");
  expect_refused({"init", "empty", "--dataset", facts}, "holds no checkpoint, up to three folders");
  expect_refused({"init", model, "--dataset", facts, "--name", "a b"}, "key name: expected a name");
  expect_refused({"init", model, "--dataset", facts, "--name", "a\nb: c"}, "control character");
  expect_refused({"init", model, "--dataset", facts, "--limit", "-1"}, "--limit expects");
  expect_refused({"init", "hf:org/none", "--dataset", facts}, "hf download org/none",
                 {.environment = {{"HF_HUB_CACHE", path("nowhere")}}});
  EXPECT_FALSE(fs::exists(scratch_ / "sweep.yaml"));
}

// ---- answers for programs

void collect_keys(const nlohmann::json& value, std::set<std::string>& keys) {
  if (value.is_object())
    for (const auto& [key, inner] : value.items()) {
      keys.insert(key);
      collect_keys(inner, keys);
    }
  if (value.is_array())
    for (const nlohmann::json& inner : value) collect_keys(inner, keys);
}

// What stands in backticks in the rows of a section of docs/json.md, the last part of a dotted one.
std::string section_of_document(const std::string& command) {
  const std::string text = read_file(source_dir() + "/docs/json.md");
  const size_t begin = text.find("\n## " + command + "\n");
  EXPECT_NE(begin, std::string::npos) << command;
  const size_t end = text.find("\n## ", begin + 4);
  return text.substr(begin, end - begin);
}

void expect_documented(const std::string& command, const nlohmann::json& answer,
                       const std::string& also = "") {
  std::set<std::string> keys;
  collect_keys(answer, keys);
  const std::string document =
      section_of_document(command) + (also.empty() ? "" : section_of_document(also));
  for (const std::string& key : keys)
    EXPECT_THAT(document, ContainsRegex("`([a-z.]+\\.)?" + key + "`")) << command;
}

// Keys in the first column, which every answer has.
void expect_has_documented_keys(const std::string& command, const nlohmann::json& answer) {
  std::set<std::string> keys;
  collect_keys(answer, keys);
  const std::string document = section_of_document(command);
  for (size_t row = document.find("\n| `"); row != std::string::npos;
       row = document.find("\n| `", row + 1)) {
    const std::string cell = document.substr(row + 2, document.find(" |", row + 3) - row - 2);
    for (size_t at = cell.find('`'); at != std::string::npos; at = cell.find('`', at + 1)) {
      const size_t end = cell.find('`', at + 1);
      const std::string key = cell.substr(at + 1, end - at - 1);
      EXPECT_TRUE(keys.contains(key.substr(key.rfind('.') == key.npos ? 0 : key.rfind('.') + 1)))
          << command << ": " << key;
      at = end;
    }
  }
}

TEST_F(Beginning, ProgramsGetWhatTheDocumentSays) {
  Scenario scenario = tiny();
  scenario.models = {"gpt2", "mamba"};
  const std::string file = config(scenario);
  const nlohmann::json validated = json({"validate", file, "--json"});
  EXPECT_TRUE(validated.at("good").get<bool>());
  EXPECT_EQ(validated.at("models").at(0).at("answers").at("prompts"), 4);
  expect_documented("validate", validated);
  expect_has_documented_keys("validate", validated);

  const nlohmann::json planned = json({"plan", file, "--json"});
  EXPECT_EQ(planned.at("models").at(1).at("family"), "mamba");
  EXPECT_GT(planned.at("total").at("rows"), 0);
  expect_documented("plan", planned);
  expect_has_documented_keys("plan", planned);

  good({"run", file, "--out", "out"});
  const nlohmann::json status = json({"status", "out", "--json"});
  EXPECT_EQ(status.at("state"), "complete");
  EXPECT_EQ(status.at("progress").at("share"), 1);
  EXPECT_EQ(status.at("accuracy").at("sets").at(0).at("prompts"), 4);
  EXPECT_THAT(status.at("processes"), IsEmpty());
  expect_documented("status", status);
  expect_has_documented_keys("status", status);

  const nlohmann::json checked = json({"check", "--model", demo_path("models/mamba"), "--dataset",
                                       demo_path("facts.jsonl"), "--limit", "3", "--json"});
  EXPECT_EQ(checked.at("accuracy").at("of_prompts").size(), 3U);
  EXPECT_EQ(checked.at("accuracy").at("of_prompts").at(0).at("subject_tokens"),
            nlohmann::json({" France"}));
  expect_documented("check", checked, "validate");
  expect_has_documented_keys("check", checked);
  expect_refused({"validate", "none.yaml", "--json"}, "none.yaml");
}

// ---- accuracy

TEST_F(Beginning, ARunSaysWhatEachModelTakesOut) {
  Scenario scenario = tiny();
  scenario.models = {"gpt2", "mamba"};
  scenario.limit = 20;
  const Ended ended = good({"run", config(scenario), "--out", "out"});
  EXPECT_THAT(
      ended.err,
      AllOf(ContainsRegex("\ngpt2: right on [0-9]+ of 20 prompts \\([0-9.]+ %\\), among the "
                          "likeliest 5 on [0-9]+ \\([0-9.]+ %\\)\n"),
            ContainsRegex("\ncorrect_for: all keeps [0-9]+ of 20 prompts.*; with rank: 5 "
                          "it would keep [0-9]+\n")));
  EXPECT_THAT(good({"status", "out"}).out, HasSubstr("  correct_for: all keeps "));
}

TEST_F(Beginning, CheckAsksTheModelTheFirstPrompts) {
  // Two answers that begin alike count as the same one, which is why it is said.
  std::string lines;
  for (const char* answer : {"Paris", "Parma", "Oslo"})
    lines +=
        std::string(R"({"prompt": "The capital of France is", "subject": "France", "answer": ")") +
        answer + "\"}\n";
  const std::string facts = scratch_.write("facts.jsonl", lines), model = demo_path("models/gpt2");
  const std::string said = good({"check", "--model", model, "--dataset", facts}).out;
  EXPECT_THAT(said,
              AllOf(HasSubstr("accuracy: right on 2 of 3 prompts (66.7 %)"),
                    HasSubstr("shared first token ' Par' of 2 answers:  Paris,  Parma\n"),
                    ContainsRegex("\n +0 +1 +0\\.[0-9]+  answer ' Par\\|is', subject ' France'\n"),
                    ContainsRegex("\n +2 +[0-9]+ .* says ' Par'\n")));
  EXPECT_THAT(good({"check", "--model", model, "--dataset", facts, "--limit", "0"}).out,
              Not(HasSubstr("accuracy:")));
  expect_refused({"check", "--dataset", facts, "--limit", "2"}, "--limit is given without --model");
}

// ---- looking before running, and saying less or more

TEST_F(Beginning, ADryRunSaysWhatItWouldDoAndWritesNothing) {
  const std::string file = config(tiny());
  const Ended first = good({"run", file, "--dry-run"}, {.ranks = 2});
  EXPECT_THAT(first.out, AllOf(HasSubstr("would begin runs/tiny: at most 3 units"),
                               HasSubstr("2 ranks on CPU"), HasSubstr("nothing was computed")));
  EXPECT_FALSE(fs::exists(scratch_ / "runs"));
  good({"run", file});
  const auto before = fs::last_write_time(scratch_ / "runs/tiny/progress.json");
  EXPECT_THAT(good({"run", file, "--dry-run"}).out,
              HasSubstr("would continue runs/tiny: at most 3 units"));
  EXPECT_THAT(good({"run", file, "--dry-run", "--fresh"}).out, HasSubstr("would start over"));
  EXPECT_EQ(fs::last_write_time(scratch_ / "runs/tiny/progress.json"), before);
  const Ended other = run({"run", file, "--dry-run", "--limit", "2"});
  EXPECT_EQ(other.code, 1) << other.all();
  EXPECT_THAT(other.err, HasSubstr("belongs to another configuration"));
  expect_refused({"run", file, "--dry-run", "--set", "run.device=cuda"}, "cuda", {.ranks = 2});
}

TEST_F(Beginning, QuietSaysNothingAndVerboseEveryUnit) {
  const std::string file = config(tiny());
  const Ended quiet = good({"run", file, "--out", "q", "-q"});
  EXPECT_THAT(quiet.err + quiet.out, IsEmpty());
  const Ended verbose = good({"run", file, "--out", "v", "-v"}, {.ranks = 2});
  EXPECT_THAT(verbose.err,
              ContainsRegex("\nunit \"evaluate of gpt2, prompts 1 to 4\": .*by worker [01]"));
  expect_refused({"run", file, "-q", "-v"}, "do not go together");
}

// ---- progress and status

TEST_F(Beginning, ALivingRunIsSeenAndADeadOne) {
  const std::string file = config(many_units());
  Program program({"run", file, "--out", path("out")}, {.directory = scratch_.path()});
  while (program.running() && !fs::exists(scratch_ / "out/identity.yaml"))
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  program.signal_group(SIGSTOP);  // it lives, and does nothing
  const Ended living = run({"status", "out"});
  const nlohmann::json told = nlohmann::json::parse(run({"status", "out", "--json"}).out);
  expect_refused({"run", file, "--dry-run", "--set", "name=other name"}, "key name");
  const Ended busy = run({"run", file, "--out", "out", "--dry-run"});
  program.signal_group(SIGKILL);
  program.wait();
  EXPECT_THAT(living.out, ContainsRegex("\n  running: process [0-9]+ on .*, started .* UTC\n"));
  EXPECT_EQ(told.at("state"), "running");
  EXPECT_TRUE(told.at("processes").at(0).at("alive").get<bool>());
  EXPECT_EQ(busy.code, kExitBusy) << busy.all();
  EXPECT_THAT(good({"status", "out"}).out,
              AllOf(ContainsRegex("\n  not running: process .* ended without a word"),
                    HasSubstr("the same command continues it")));
  EXPECT_EQ(json({"status", "out", "--json"}).at("state"), "interrupted");
}

// On a terminal: util-linux's script gives the program one.
TEST_F(Beginning, ATerminalSeesStageAndRate) {
  if (!fs::exists("/usr/bin/script")) GTEST_SKIP() << "there is no script";
  const std::string file = config(many_units());
  const std::string command = "stty cols 100; '" + std::string(PROGRAM) + "' run '" + file +
                              "' --out '" + path("out") + "'";
  const Ended ended =
      run_program({"-c", "exec script -qec \"" + command + "\" /dev/null < /dev/null"},
                  {.directory = scratch_.path(), .program = "/bin/sh"});
  EXPECT_EQ(ended.code, 0) << ended.all();
  EXPECT_THAT(ended.out,
              ContainsRegex("\r.\\[K *[0-9]+%  [0-9]+ of [0-9]+ units.*; unit \"[a-z]+ of "));
  // A line that is redrawn fits into the terminal.
  for (size_t at = ended.out.find("\r\x1b[K"); at != std::string::npos;) {
    const size_t next = ended.out.find('\r', at + 1);
    EXPECT_LE(ended.out.substr(at + 4, next - at - 4).size(), 100U);
    at = ended.out.find("\r\x1b[K", at + 1);
  }
}

// What failed is said once, by status and by its answer for programs.
TEST_F(Beginning, AFailureIsToldOnce) {
  Scenario scenario = tiny();
  scenario.dataset = scratch_.write(
      "facts.jsonl",
      R"({"prompt": "The capital of France is", "subject": "France", "answer": "Paris"})"
      "\n"
      R"({"prompt": "The capital of Norway is", "subject": "Sweden", "answer": "Oslo"})"
      "\n");
  good({"run", config(scenario), "--out", "out"});
  const std::string said = good({"status", "out"}).out;
  EXPECT_THAT(said, HasSubstr("1 failure ("));
  EXPECT_EQ(said.find("facts.jsonl:2"), said.rfind("facts.jsonl:2")) << said;
  EXPECT_EQ(json({"status", "out", "--json"}).at("failures").size(), 1U);
}

}  // namespace
}  // namespace factflow::testing
