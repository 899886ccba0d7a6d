// What the commands say about what a user writes: paths, names, datasets and directories that are
// not what they should be, and how far things are.
#include <filesystem>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "tests/system/damaged_model.hpp"
#include "tests/system/program.hpp"
#include "tests/system/scenario.hpp"

namespace factflow::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

const std::string kProfile = "time: \"00:10:00\"\n";

class Messages : public ::testing::Test {
 protected:
  static Scenario tiny() {
    Scenario scenario = testing::tiny();
    scenario.heatmaps = 0;
    return scenario;
  }
  std::string path(const std::string& name) const { return (scratch_.path() / name).string(); }
  std::string config(const std::string& yaml) const { return scratch_.write("x.yaml", yaml); }
  Start here() const { return {.directory = scratch_.path()}; }

  // run, validate, plan and submit all refuse with exit code 2 and these words, and leave nothing.
  void expect_refused_everywhere(const std::string& file,
                                 const std::vector<std::string>& expected) const {
    const std::string profile = scratch_.write("profile.yaml", kProfile), out = path("out");
    for (const std::vector<std::string>& command :
         {std::vector<std::string>{"validate", file},
          {"plan", file},
          {"run", file, "--out", out},
          {"submit", file, "--profile", profile, "--out", out, "--dry-run"}}) {
      const Ended ended = run_program(command, here());
      EXPECT_EQ(ended.code, 2) << command[0] << ended.all();
      EXPECT_THAT(ended.complaints(), SizeIs(1)) << command[0] << ended.all();
      for (const std::string& words : expected) EXPECT_THAT(ended.err, HasSubstr(words));
      EXPECT_FALSE(std::filesystem::exists(out)) << command[0];
    }
  }

  TemporaryDirectory scratch_;
};

// ---- paths

TEST_F(Messages, AConfigurationWorksFromAnywhereAndSoDoesTheCopyOfARun) {
  std::filesystem::create_directory_symlink(demo_path(""), path("kit"));
  scratch_.write("configs/x.yaml",
                 "name: x\ndataset: {path: ../kit/facts.jsonl, limit: 4}\n"
                 "models: {name: gpt2, path: ../kit/models/gpt2}\n"
                 "sweep: {windows: {sizes: 5}, knockouts: {from: subject, to: last}}\n"
                 "run: {device: cpu, threads_per_rank: 1}\n");
  const Ended first = run_program({"run", "configs/x.yaml"}, here());
  ASSERT_EQ(first.code, 0) << first.all();
  EXPECT_TRUE(std::filesystem::exists(path("runs/x/results.h5")));
  const Ended same =
      run_program({"run", path("runs/x/config.yaml"), "--out", path("runs/x")}, {.directory = "/"});
  EXPECT_EQ(same.code, 0) << same.all();
  EXPECT_THAT(same.err, ContainsRegex("complete: [0-9]+ units"));
}

TEST_F(Messages, WhereTheOldReadingWouldHaveFoundTheFileItIsSaid) {
  std::filesystem::create_directory_symlink(demo_path(""), path("demo"));
  scratch_.write("configs/x.yaml",
                 "name: x\ndataset: {path: demo/facts.jsonl}\n"
                 "models: {name: gpt2, path: demo/models/gpt2}\n");
  const Ended ended = run_program({"validate", "configs/x.yaml"}, here());
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err,
              HasSubstr("configs/x.yaml:2: key dataset.path: there is no 'demo/facts.jsonl'"));
  EXPECT_THAT(ended.err, HasSubstr("write ../demo/facts.jsonl"));
}

TEST_F(Messages, AnOptionOfTheCommandLineIsRelativeToTheWorkingDirectory) {
  const Ended good = run_program({"validate", config(tiny().yaml()), "--dataset", "facts.jsonl"},
                                 {.directory = demo_path("")});
  EXPECT_EQ(good.code, 0) << good.all();
  const Ended bad = run_program({"validate", "x.yaml", "--dataset", "facts.jsonl"}, here());
  EXPECT_EQ(bad.code, 2) << bad.all();
  EXPECT_THAT(bad.err, HasSubstr(path("facts.jsonl") + ": cannot be opened"));
  const Ended none = run_program({"validate", "none.yaml"}, here());
  EXPECT_THAT(none.err, HasSubstr("none.yaml: cannot be opened: No such file or directory "
                                  "(relative to " +
                                  std::filesystem::canonical(scratch_.path()).string() + ")"));
}

// ---- what run refuses before it computes, the others refuse

TEST_F(Messages, ATokenizerLargerThanTheVocabularyIsRefusedEverywhere) {
  const DamagedModel model(scratch_, "gpt2", "chat");
  nlohmann::json tokenizer = nlohmann::json::parse(read_file(model.file("tokenizer.json")));
  const std::size_t tokens = tokenizer["model"]["vocab"].size();
  tokenizer["model"]["vocab"]["onemore"] = 1024;
  model.write("tokenizer.json", tokenizer.dump());
  ASSERT_LE(tokens, 1024U);
  Scenario scenario = tiny();
  scenario.models = {model.path()};
  expect_refused_everywhere(
      config(scenario.yaml()),
      {"chat: the tokenizer has 1025 tokens, the model only 1024", "models: {tokenizer: PATH}"});
  const Ended check = run_program({"check", "--model", model.path()});
  EXPECT_EQ(check.code, 2) << check.all();
  EXPECT_THAT(check.err, HasSubstr("the tokenizer has 1025 tokens, the model only 1024"));
}

TEST_F(Messages, APromptThatTheModelCannotTakeIsNoInternalErrorOfCheck) {
  std::string words;
  for (int i = 0; i < 100; ++i) words += " is";
  const Ended ended =
      run_program({"check", "--model", demo_path("models/gpt2"), "--prompt", "It" + words});
  EXPECT_EQ(ended.code, 2) << ended.all();
  EXPECT_THAT(ended.err, ContainsRegex("--prompt: has [0-9]+ tokens, the model takes 64"));
}

TEST_F(Messages, NamesThatTheResultsNeedAreRefusedEverywhere) {
  for (const std::string name : {"prompts", "a/b"}) {  // config_errors_test.cpp has the others
    Scenario scenario = tiny();
    std::string yaml = scenario.yaml();
    yaml.replace(yaml.find("name: gpt2"), 10, "name: " + name);
    expect_refused_everywhere(config(yaml), {"x.yaml:4: key models[0].name: ", "'" + name + "'"});
  }
}

TEST_F(Messages, PrecisionsThatTheDeviceLacks) {
  const std::string cpu = tiny().yaml();
  std::string bf16 = cpu;
  bf16.replace(bf16.find("{device: cpu"), 12, "{device: cpu, precision: bf16");
  expect_refused_everywhere(config(bf16), {"key run.precision: bf16 runs on a GPU only"});
  // Whether there is a GPU is the machine's matter.
  std::string yaml = cpu;
  yaml.replace(yaml.find("{device: cpu"), 12, "{device: cuda");
  const Start blind = {.directory = scratch_.path(), .environment = {{"CUDA_VISIBLE_DEVICES", ""}}};
  const Ended validated = run_program({"validate", config(yaml)}, blind);
  EXPECT_EQ(validated.code, 0) << validated.all();
  EXPECT_THAT(validated.out, HasSubstr("warning: on this machine run would end with: device: "));
  const Ended submitted = run_program({"submit", path("x.yaml"), "--dry-run", "--profile",
                                       scratch_.write("profile.yaml", kProfile)},
                                      here());
  EXPECT_EQ(submitted.code, 2) << submitted.all();
  EXPECT_THAT(submitted.err, HasSubstr("asks for no GPU"));
}

TEST_F(Messages, EveryCheckpointThatIsMissingIsNamedWithItsCommand) {
  const std::string file =
      config("name: x\ndataset: {path: " + demo_path("facts.jsonl") +
             ", limit: 4}\nmodels:\n  - {name: a, path: \"hf:org/a\", tokenizer: \"hf:org/t\"}\n"
             "  - {name: b, path: \"hf:org/b@v1\"}\n  - {name: c, path: nowhere}\n"
             "  - {name: d, path: \"hf:org/a\"}\n");
  const Ended ended =
      run_program({"validate", file}, {.environment = {{"HF_HUB_CACHE", path("cache")}}});
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, HasSubstr("x.yaml: 4 checkpoints or tokenizers are missing"));
  EXPECT_THAT(ended.err, HasSubstr("\n  hf download org/a\n"));
  EXPECT_THAT(ended.err, HasSubstr("\n  hf download org/t\n"));
  EXPECT_THAT(ended.err, HasSubstr("\n  hf download org/b --revision v1\n"));
  EXPECT_THAT(ended.err, HasSubstr("x.yaml:6: key models[2].path: there is no 'nowhere'"));
  const Ended below = run_program({"validate", file, "--models-dir", scratch_.path().string()});
  EXPECT_THAT(below.err, HasSubstr("hf download org/a --local-dir " + path("org/a")));
}

// ---- what is no text

TEST_F(Messages, PackedFilesAreSaidWhereverTextIsRead) {
  const std::string packed("\x1f\x8b\x08\0", 4);
  const std::string gz = scratch_.write("x.gz", packed);
  const std::string lfs =
      scratch_.write("lfs", "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n");
  Scenario scenario = tiny();
  scenario.dataset = gz;
  const std::string good = scratch_.write("good.yaml", tiny().yaml());
  const std::vector<std::vector<std::string>> commands = {
      {"validate", gz},
      {"validate", config(scenario.yaml())},
      {"submit", good, "--profile", gz},
      {"check", "--tokenizer", gz},
      {"check", "--dataset", gz},
      {"tokenize", "--model", gz},
      {"plan", good, "--rates", gz},
      {"verify", "--model", demo_path("models/gpt2"), "--cases", gz},
      {"conform", "--model", "gpt2-355M", "--path", demo_path("models/gpt2"), "--dataset", gz,
       "--published", gz}};
  for (const std::vector<std::string>& command : commands) {
    const Ended ended = run_program(command, here());
    EXPECT_EQ(ended.code, 2) << ended.all();
    EXPECT_THAT(ended.err, HasSubstr("x.gz: is compressed with gzip; unpack it: gunzip"))
        << command[0];
  }
  for (const std::vector<std::string>& command : {std::vector<std::string>{"validate", lfs},
                                                  {"check", "--tokenizer", lfs},
                                                  {"check", "--dataset", lfs}})
    EXPECT_THAT(run_program(command, here()).err, HasSubstr("git lfs pull"));
}

TEST_F(Messages, AByteOrderMarkIsNoMatter) {
  const std::string mark = "\xEF\xBB\xBF";
  const DamagedModel model(scratch_, "gpt2", "marked");
  for (const char* name : {"config.json", "tokenizer.json"})
    model.write(name, mark + read_file(model.file(name)));
  Scenario scenario = tiny();
  scenario.models = {model.path()};
  scenario.dataset = scratch_.write("facts.jsonl", mark + read_file(demo_path("facts.jsonl")));
  std::string yaml = scenario.yaml();
  const std::string ids = scratch_.write("ids", mark + "0\n1.0\n");
  yaml.replace(yaml.find("correct_for: all"), 16, "ids: " + ids);
  const Ended ended = run_program({"validate", config(mark + yaml)});
  EXPECT_EQ(ended.code, 0) << ended.all();
  const Ended submitted = run_program({"submit", path("x.yaml"), "--dry-run", "--profile",
                                       scratch_.write("profile.yaml", mark + kProfile)},
                                      here());
  EXPECT_EQ(submitted.code, 0) << submitted.all();
}

TEST_F(Messages, CheckTakesATokenizerOfTheHubAsTheOthersDo) {
  const std::string snapshot = "cache/models--org--t/snapshots/" + std::string(40, 'a');
  scratch_.write("cache/models--org--t/refs/main", std::string(40, 'a'));
  scratch_.write(snapshot + "/tokenizer.json", read_file(demo_path("models/gpt2/tokenizer.json")));
  const Start start = {.environment = {{"HF_HUB_CACHE", path("cache")}}};
  const Ended alone = run_program({"check", "--tokenizer", "hf:org/t"}, start);
  EXPECT_EQ(alone.code, 0) << alone.all();
  EXPECT_THAT(alone.out, HasSubstr("tokens   BPE, "));
  const Ended beside = run_program({"check", "--dataset", demo_path("facts.jsonl"), "--model",
                                    demo_path("models/gpt2"), "--tokenizer", "hf:org/t"},
                                   start);
  EXPECT_EQ(beside.code, 0) << beside.all();
  const Ended home = run_program({"check", "--tokenizer", "~/models/gpt2"},
                                 {.environment = {{"HOME", demo_path("")}}});
  EXPECT_EQ(home.code, 0) << home.all();
}

// ---- how far things are

TEST_F(Messages, AnEvaluationSaysHowManyPromptsTheModelGotRight) {
  Scenario scenario = tiny();
  scenario.models = {"gpt2", "mamba"};
  const Ended ended =
      run_program({"run", config(scenario.yaml()), "--out", path("out")}, {.ranks = 2});
  ASSERT_EQ(ended.code, 0) << ended.all();
  for (const std::string model : {"gpt2", "mamba"})
    EXPECT_THAT(ended.err, ContainsRegex("\n" + model + ": right on [0-4] of 4 prompts \\("));
}

TEST_F(Messages, DirectoriesThatAreNoRunAreSaidToBeWhatTheyAre) {
  const std::string file = config(tiny().yaml());
  for (const std::string command : {"status", "analyse"}) {
    const Ended none = run_program({command, "runs/none"}, here());
    EXPECT_EQ(none.code, 2) << none.all();
    EXPECT_THAT(none.err, HasSubstr("runs/none: there is no such directory (relative to "));
    const Ended config_given = run_program({command, file}, here());
    EXPECT_EQ(config_given.code, 2);
    EXPECT_THAT(config_given.err,
                HasSubstr("x.yaml: is a configuration, expected the directory of a run; name "
                          "runs/tiny"));
    const Ended other = run_program({command, scratch_.path().string()});
    EXPECT_THAT(other.err, HasSubstr("is not the directory of a run"));
  }
  ASSERT_EQ(run_program({"run", file, "--out", path("out")}).code, 0);
  for (const std::string command : {"validate", "plan", "run"}) {
    const Ended ended = run_program({command, path("out")});
    EXPECT_EQ(ended.code, 2) << ended.all();
    EXPECT_THAT(ended.err, HasSubstr("out: is the directory of a run, expected a configuration; "
                                     "name the run's own copy, " +
                                     path("out/config.yaml")));
    EXPECT_THAT(run_program({command, scratch_.path().string()}).err,
                HasSubstr("is a directory, expected a configuration"));
  }
  EXPECT_THAT(run_program({"analyse", path("out/results.h5")}).err,
              HasSubstr("results.h5: is a file, expected the directory of a run"));
  std::filesystem::remove(path("out/results.h5"));
  const Ended early = run_program({"analyse", path("out")});
  EXPECT_EQ(early.code, 2) << early.all();
  EXPECT_THAT(early.err, ContainsRegex("its run has no results yet \\(.*units.*\\); they "
                                       "appear a minute after its start"));
  EXPECT_THAT(run_program({"compare", path("out"), path("out")}).err,
              HasSubstr("its run has no results yet"));
}

TEST_F(Messages, OneIsNoPlural) {
  Scenario scenario = tiny();
  scenario.limit = 1;
  const std::string file = config(scenario.yaml());
  std::string said;
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"validate", file},
        {"plan", file},
        {"run", file, "--out", path("o")},
        {"status", path("o")},
        {"analyse", path("o")},
        {"submit", file, "--profile", scratch_.write("profile.yaml", kProfile), "--dry-run"}})
    said += run_program(command, here()).all();
  EXPECT_THAT(
      said,
      Not(ContainsRegex(
          "(^|[^0-9.,])1 (prompts|records|units|failures|edges|models|"
          "ranks|facts|selected prompts|answers|different answers|different tokens|figures)")));
  EXPECT_THAT(said, Not(HasSubstr("-0.0 ")));
}

TEST_F(Messages, ValidateTellsThatTheRunsDirectoryIsAnothers) {
  const std::string file = config(tiny().yaml());
  ASSERT_EQ(run_program({"run", file}, here()).code, 0);
  EXPECT_THAT(run_program({"validate", file}, here()).out, Not(HasSubstr("without --out")));
  Scenario other = tiny();
  other.limit = 3;
  const Ended ended = run_program({"validate", config(other.yaml())}, here());
  EXPECT_EQ(ended.code, 0) << ended.all();
  EXPECT_THAT(ended.out, HasSubstr("warning: without --out, run would end with: runs/tiny: belongs "
                                   "to another configuration"));
}

// ---- what is allowed and hardly meant

TEST_F(Messages, SlipsAreWarnedOf) {
  Scenario scenario = tiny();
  scenario.limit = 12;
  scenario.heatmaps = 99;
  scenario.dataset = scratch_.write(
      "facts.jsonl",
      "{\"prompt\": \"The capital of France is \", \"subject\": \"France\", \"answer\": \"Paris\", "
      "\"id\": 5}\n{\"prompt\": \"The capital of Spain is\", \"subject\": \"Spain\", \"answer\": "
      "\"Madrid\"}\n");
  std::string yaml = scenario.yaml();
  yaml.replace(yaml.find("{device: cpu"), 12, "{device: cpu, memory_limit: 10");
  const std::string file = config(yaml), profile = scratch_.write("profile.yaml", kProfile);
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"validate", file},
        {"plan", file},
        {"run", file, "--out", "out"},
        {"submit", file, "--profile", profile, "--out", "sub", "--dry-run"}}) {
    const std::string said = run_program(command, here()).all();
    EXPECT_THAT(said, HasSubstr("warning: 1 of 2 prompts ends with white space")) << command[0];
    EXPECT_THAT(said, HasSubstr("(the first: prompt 5, 'The capital of France is ')"));
    EXPECT_THAT(said, HasSubstr("warning: heatmaps.prompts is 99, but there are only 2 prompts"));
    EXPECT_THAT(said, HasSubstr("warning: run.memory_limit is 10 B"));
    EXPECT_THAT(said, HasSubstr("write 10 GiB if that is meant"));
  }
  const std::string clean = run_program({"validate", config(tiny().yaml())}).all();
  EXPECT_THAT(clean, Not(HasSubstr("warning: run.memory_limit")));
  EXPECT_THAT(clean, Not(HasSubstr("white space")));
}

}  // namespace
}  // namespace factflow::testing
