// Where a run may write: a directory of its own and nothing else, and that only once it has
// something to keep.
#include <map>
#include <thread>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <signal.h>

#include "base/files.hpp"
#include "experiments/sweep/knockout_arrays.hpp"
#include "results/results_file.hpp"
#include "tests/source_dir.hpp"
#include "tests/system/damaged_model.hpp"
#include "tests/system/program.hpp"
#include "tests/system/results_difference.hpp"
#include "tests/system/scenario.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  if (at == std::string::npos) throw std::logic_error("nothing to replace: " + from);
  return text.replace(at, from.size(), to);
}

class Directory : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return (scratch_.path() / name).string(); }
  // Every file below a directory with its content, and every directory.
  std::map<std::string, std::string> contents(const std::string& name) const {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path(name)))
      files[entry.path().string()] = entry.is_regular_file() ? read_file(entry.path()) : "";
    return files;
  }
  static void expect_refused(const Ended& ended, const std::string& words) {
    EXPECT_EQ(ended.code, 2) << ended.all();
    ASSERT_THAT(ended.complaints(), SizeIs(1)) << ended.all();
    EXPECT_THAT(ended.complaints()[0], HasSubstr(words));
  }
  std::vector<std::string> run(const std::string& out, std::vector<std::string> more = {}) const {
    std::vector<std::string> words = {"run", config_, "--out", path(out)};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  // A model whose weights cannot be used, which is found when they are loaded.
  std::string config_of_a_broken_model() const {
    const DamagedModel model(scratch_, "gpt2", "broken");
    Safetensors file(model.weights());
    const std::string tensor = "transformer.h.3.mlp.c_fc.weight";
    std::memcpy(file.data.data() + file.header[tensor]["data_offsets"][0].get<size_t>() + 20,
                "\xff\xff", 2);
    model.write("model.safetensors", file.bytes());
    Scenario scenario = tiny();
    scenario.models = {model.path()};
    return scratch_.write("broken.yaml", scenario.yaml());
  }

  TemporaryDirectory scratch_;
  const std::string config_ = scratch_.write("tiny.yaml", tiny().yaml());
};

// ---- whose directory

TEST_F(Directory, SomebodyElsesFilesAreNeitherOverwrittenNorRemoved) {
  scratch_.write("mine/config.yaml", tiny().yaml());
  scratch_.write("mine/figures/photo.png", "a photo");
  scratch_.write("mine/tables/table.csv", "a,b");
  const auto before = contents("mine");
  const std::vector<std::vector<std::string>> cases = {
      {"run", "config.yaml", "--out", "."},
      {"run", "config.yaml", "--out", ".", "--fresh"},
      {"run", "config.yaml", "--out", ".", "--share"},
      {"run", "config.yaml", "--out", path("mine")},
      {"submit", "config.yaml", "--out", ".", "--dry-run", "--profile",
       source_dir() + "/configs/slurm/cpu.yaml"}};
  for (const auto& words : cases) {
    expect_refused(run_program(words, {.directory = path("mine")}),
                   "is not empty, and what it holds is not of factflow: 'config.yaml', 'figures', "
                   "'tables'");
    EXPECT_EQ(contents("mine"), before);
  }
  expect_refused(run_program(run("mine", {"--fresh"}), {.ranks = 2}), "is not of factflow");
  EXPECT_EQ(contents("mine"), before);
}

// Names that a run uses too do not make a directory one.
TEST_F(Directory, FilesThatOnlyHaveTheNamesOfARunAreNotOne) {
  const std::vector<std::pair<std::string, std::string>> files = {
      {"run.json", R"({"experiment": 7})"},
      {"run.json", "no JSON at all"},
      {"claims/contract.pdf", "a contract"},
      {"journal/diary.txt", "dear diary"},
      {"journal/dear.journal", "dear diary"},
      {"progress.json", "{}"},
      {"submit.yaml", "mine"}};
  int number = 0;
  for (const auto& [name, text] : files) {
    const std::string out = "other-" + std::to_string(number++);
    scratch_.write(out + "/" + name, text);
    const auto before = contents(out);
    const std::vector<std::vector<std::string>> more = {{"--fresh"}, {"--share"}, {}};
    expect_refused(run_program(run(out, more[static_cast<size_t>(number) % more.size()])),
                   "is not of factflow");
    EXPECT_EQ(contents(out), before) << name;
  }
}

TEST_F(Directory, AnEmptyOneAndALinkToItAreGood) {
  std::filesystem::create_directory(path("empty"));
  std::filesystem::create_symlink(path("empty"), path("link"));
  const Ended ended = run_program(run("link"));
  EXPECT_EQ(ended.code, 0) << ended.all();
  EXPECT_TRUE(std::filesystem::exists(path("empty") + "/results.h5"));
}

TEST_F(Directory, APlaceWithoutDirectoriesIsOneLine) {
  std::filesystem::create_symlink("/nowhere/at/all", path("dangling"));
  scratch_.write("file", "");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"/proc/x", "/proc/x: no directory can be made here"},
      {path("file"), "file: is a file, not a directory"},
      {path("file") + "/run", "a part of this path is a file"},
      {path("dangling"), "is a link to /nowhere/at/all, which does not exist"},
      {path(std::string(300, 'n')), "File name too long"},
      {"", "--out expects a directory"}};
  for (const auto& [out, words] : cases) {
    const Ended ended =
        run_program({"run", config_, "--out", out}, {.patience = std::chrono::seconds(60)});
    expect_refused(ended, words);
  }
  expect_refused(run_program({"submit", config_, "--out", "/proc/x", "--dry-run", "--profile",
                              source_dir() + "/configs/slurm/cpu.yaml"}),
                 "/proc/x: no directory can be made here");
}

// ---- --fresh

class Analysed : public Directory {
 protected:
  void SetUp() override {
    ASSERT_EQ(run_program(run("a")).code, 0);
    const Ended analysed = run_program({"analyse", path("a")});
    ASSERT_EQ(analysed.code, 0) << analysed.all();
    for (const char* name : {"notes.txt", "figures/mine.png", "tables/mine.csv", "journal/mine"})
      scratch_.write(std::string("a/") + name, "mine");
  }
  void expect_fresh_keeps_what_is_not_of_the_run() {
    std::string other = config_;
    const Ended ended =
        run_program({"run", scratch_.write("other.yaml", replaced(tiny().yaml(), "[5]", "[3]")),
                     "--out", path("a"), "--fresh"});
    EXPECT_EQ(ended.code, 0) << ended.all();
    EXPECT_EQ(knockout_windows(ResultsReader(path("a") + "/results.h5"), "gpt2"),
              std::vector<std::int64_t>{3});
    for (const char* name : {"notes.txt", "figures/mine.png", "tables/mine.csv", "journal/mine"})
      EXPECT_EQ(read_file(path("a") + "/" + name), "mine");
    for (const char* folder : {"figures", "tables"})
      EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path("a") + "/" + folder), {}), 1)
          << "what the analysis wrote into " << folder << " is gone";
    EXPECT_FALSE(std::filesystem::exists(path("a") + "/report.html"));
  }
};

TEST_F(Analysed, FreshRemovesWhatTheRunAndItsAnalysisWroteAndNothingElse) {
  expect_fresh_keeps_what_is_not_of_the_run();
}

TEST_F(Analysed, SoItDoesWhereAnEarlierVersionKeptNoList) {
  std::filesystem::remove(path("a") + "/analysis.files");
  std::string record = read_file(path("a") + "/run.json");
  publish_file(path("a") + "/run.json", replaced(record, "\"plan\": \"plan ", "\"plan\": \"old "));
  expect_fresh_keeps_what_is_not_of_the_run();
}

TEST_F(Analysed, AnEditedConfigurationInTheDirectoryIsNotRemoved) {
  const std::string copy = path("a") + "/config.yaml";
  publish_file(copy, read_file(copy) + "# what I learnt about it\n");
  expect_refused(run_program({"run", copy, "--out", path("a"), "--fresh"}),
                 "would be removed by --fresh, and it was edited");
  EXPECT_THAT(read_file(copy), HasSubstr("what I learnt"));
}

// ---- compare and analyse

TEST_F(Analysed, ComparisonsAndAnalysesKeepToDirectoriesOfTheirOwn) {
  ASSERT_EQ(run_program({"run", scratch_.write("b.yaml", replaced(tiny().yaml(), "gpt2", "mamba")),
                         "--out", path("b")})
                .code,
            0);
  const std::string a = path("a"), b = path("b");
  scratch_.write("mine/figures/photo.png", "a photo");
  const auto before = contents("mine");
  expect_refused(run_program({"compare", a, b, "--out", path("mine")}),
                 "holds files that no comparison wrote");
  EXPECT_EQ(contents("mine"), before);
  expect_refused(run_program({"compare", a, b, "--out", a}),
                 "holds files that no comparison wrote");
  expect_refused(run_program({"compare", a, b, "--out", "/proc/x"}), "no directory can be made");
  for (int time = 0; time < 2; ++time) {
    const Ended compared = run_program({"compare", a, b, "--out", path("both")});
    EXPECT_EQ(compared.code, 0) << compared.all();
  }
  std::filesystem::copy(a + "/results.h5", path("mine") + "/results.h5");
  expect_refused(run_program({"analyse", path("mine")}),
                 "holds figures that no analysis of factflow wrote");
  EXPECT_EQ(read_file(path("mine") + "/figures/photo.png"), "a photo");
}

// ---- what a start that fails leaves

TEST_F(Directory, AStartThatFailsBeforeAnyUnitClaimsNothing) {
  const std::string refused = scratch_.write(
      "refused.yaml", replaced(tiny().yaml(), "device: cpu", "device: auto, precision: bf16"));
  if (std::filesystem::exists("/dev/nvidia0")) GTEST_SKIP() << "a GPU computes in bf16";
  for (const std::string& bad : {refused, config_of_a_broken_model()})
    for (const int ranks : {0, 2}) {
      const std::string out = "out-" + std::to_string(ranks);
      const Ended ended = run_program({"run", bad, "--out", path(out)}, {.ranks = ranks});
      EXPECT_EQ(ended.code, 2) << ended.all();
      EXPECT_THAT(ended.complaints(), SizeIs(1)) << ended.all();
      EXPECT_FALSE(std::filesystem::exists(path(out))) << "a directory for nothing";
    }
  const Ended good = run_program(run("out-0"));
  EXPECT_EQ(good.code, 0) << good.all();
}

TEST_F(Directory, AStartThatFailsLeavesAnEarlierRunAlone) {
  ASSERT_EQ(run_program(run("a")).code, 0);
  const auto before = contents("a");
  const std::string broken = config_of_a_broken_model();
  const Ended ended = run_program({"run", broken, "--out", path("a"), "--fresh"});
  EXPECT_EQ(ended.code, 2) << ended.all();
  EXPECT_EQ(contents("a"), before);
}

// As versions left it that claimed a directory before they computed anything.
TEST_F(Directory, ARunOfWhichNothingIsOnRecordIsNoObstacle) {
  ASSERT_EQ(run_program(run("a")).code, 0);
  std::filesystem::resize_file(path("a") + "/journal/main.journal", 88);
  for (const char* name : {"results.h5", "progress.json"})
    std::filesystem::remove(path("a") + "/" + name);
  const Ended ended =
      run_program({"run", scratch_.write("other.yaml", replaced(tiny().yaml(), "[5]", "[3]")),
                   "--out", path("a")});
  EXPECT_EQ(ended.code, 0) << ended.all();
  EXPECT_EQ(knockout_windows(ResultsReader(path("a") + "/results.h5"), "gpt2"),
            std::vector<std::int64_t>{3});
}

// ---- loading

// 600 GB of weights that nobody has on disk: the file is a hole.
TEST_F(Directory, AModelThatCannotFitIsToldBeforeAnyUnit) {
  constexpr std::int64_t kHidden = 32768;
  const DamagedModel model(scratch_, "gpt2", "huge");
  Safetensors file(model.weights());
  std::uint64_t end = 0;
  for (auto& [name, entry] : file.header.items()) {
    if (name == "__metadata__") continue;
    std::uint64_t count = 1;
    for (auto& size : entry["shape"]) {
      if (size.get<std::int64_t>() % 128 == 0 && size != 1024)
        size = size.get<std::int64_t>() / 128 * kHidden;
      count *= size.get<std::uint64_t>();
    }
    entry["dtype"] = "F16";
    entry["data_offsets"] = {end, end + 2 * count};
    end += 2 * count;
  }
  file.data.clear();
  model.write("model.safetensors", file.bytes());
  std::error_code error;
  std::filesystem::resize_file(model.weights(), std::filesystem::file_size(model.weights()) + end,
                               error);
  if (error) GTEST_SKIP() << "no sparse files of this size here: " << error.message();
  nlohmann::json config = nlohmann::json::parse(read_file(model.file("config.json")));
  config["n_embd"] = kHidden;
  config["n_head"] = kHidden / 64;
  model.write("config.json", config.dump());
  Scenario scenario = tiny();
  scenario.models = {"mamba", model.path()};
  const Ended ended =
      run_program({"run", scratch_.write("huge.yaml", scenario.yaml()), "--out", path("a")});
  expect_refused(ended, "model huge: its weights take");
  EXPECT_THAT(ended.err, Not(HasSubstr("split")));
  EXPECT_FALSE(std::filesystem::exists(path("a")));
}

// ---- what the journal has lost

class Lost : public Directory {
 protected:
  void SetUp() override {
    config_many_ = scratch_.write("units.yaml", killed().yaml());
    ASSERT_EQ(again().code, 0);
    std::filesystem::copy(path("a") + "/results.h5", path("whole.h5"));
  }
  static Scenario killed() {
    Scenario scenario = many_units();
    scenario.limit = 12;
    scenario.models = {"gpt2", "mamba"};
    return scenario;
  }
  Ended again() const { return run_program({"run", config_many_, "--out", path("a")}); }
  std::string journal() const { return path("a") + "/journal/main.journal"; }
  void expect_recovered(const Ended& ended) const {
    EXPECT_EQ(ended.code, 0) << ended.all();
    EXPECT_EQ(results_difference(path("whole.h5"), path("a") + "/results.h5"), "");
  }

  std::string config_many_;
};

TEST_F(Lost, ATornEndIsCutAndSaid) {
  const auto size = std::filesystem::file_size(journal());
  std::filesystem::resize_file(journal(), size - 20);
  const Ended ended = again();
  EXPECT_THAT(ended.err, ::testing::ContainsRegex("warning: .*main.journal: the last [0-9]+ bytes "
                                                  "are part of a commit of [0-9]+ units? that was "
                                                  "interrupted or cut short"));
  EXPECT_THAT(ended.err, HasSubstr("computed again"));
  expect_recovered(ended);
  EXPECT_THAT(again().err, Not(HasSubstr("warning: ")));
}

TEST_F(Lost, AWholeTailThatIsMissingIsSaid) {
  const std::string bytes = read_file(journal());
  const size_t frame = bytes.find("FFRM", bytes.size() / 2);  // nothing is torn there
  ASSERT_NE(frame, std::string::npos);
  std::filesystem::resize_file(journal(), frame);
  const Ended ended = again();
  EXPECT_THAT(ended.err,
              AllOf(HasSubstr("where the last launch had"), HasSubstr("will be computed again")));
  EXPECT_THAT(ended.err, Not(HasSubstr("part of a commit")));
  expect_recovered(ended);
}

TEST_F(Lost, AJournalThatIsGoneIsSaid) {
  remove_tree(path("a") + "/journal");
  const Ended ended = again();
  EXPECT_THAT(ended.err, HasSubstr("holds 0 units where the last launch had"));
  expect_recovered(ended);
}

// ---- exit codes

TEST_F(Directory, StoppedFailedBadInputAndBusyAreFourExitCodes) {
  const std::string units = scratch_.write("units.yaml", many_units().yaml());
  const std::vector<std::string> words = {"run", units, "--out", path("busy")};
  Program first(words);
  while (first.running() && !std::filesystem::exists(path("busy") + "/run.json"))
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  first.signal_launcher(SIGSTOP);
  const Ended busy = run_program(words);
  EXPECT_EQ(busy.code, 4) << busy.all();
  EXPECT_THAT(busy.complaints(), SizeIs(1));
  first.signal_launcher(SIGTERM);
  first.signal_launcher(SIGCONT);
  const Ended stopped = first.wait();
  EXPECT_EQ(stopped.code, 3) << stopped.all();
  EXPECT_THAT(stopped.complaints(), IsEmpty());
  const Ended bad = run_program({"run", path("no.yaml")});
  EXPECT_EQ(bad.code, 2) << bad.all();
  const Ended failed = run_program(
      {"run", scratch_.write("other.yaml", replaced(many_units().yaml(), "limit: 40", "limit: 39")),
       "--out", path("busy")});
  EXPECT_EQ(failed.code, 1) << failed.all();
  for (const std::vector<std::string>& help :
       {std::vector<std::string>{"--help"}, {"run", "--help"}})
    EXPECT_THAT(run_program(help).out,
                AllOf(HasSubstr("Exit codes: 0"), HasSubstr("3 stopped by a"),
                      HasSubstr("4 another launch holds the directory")));
}

// Nothing is begun by a run that is stopped before its first unit is done.
TEST_F(Directory, ARunThatIsStoppedAtOnceLeavesNothing) {
  Program program(run("a"));
  while (program.running() && !std::filesystem::exists(path("a") + "/run.lock"))
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  program.signal_launcher(SIGTERM);
  const Ended ended = program.wait();
  if (std::filesystem::exists(path("a"))) GTEST_SKIP() << "the first unit was faster";
  EXPECT_EQ(ended.code, 3) << ended.all();
  EXPECT_EQ(run_program(run("a")).code, 0);
}

// ---- ranks

TEST_F(Directory, MoreRanksThanUnitsAreAWarning) {
  const Ended three = run_program(run("a"), {.ranks = 3});
  EXPECT_EQ(three.code, 0) << three.all();
  EXPECT_THAT(three.err, HasSubstr("warning: 3 ranks for at most 2 units at a time"));
  const Ended one = run_program(run("b"));
  EXPECT_THAT(one.err, Not(HasSubstr("at a time")));
}

TEST_F(Directory, ThePlanIsForTheThreadsThatTheRunHas) {
  const std::string yaml = tiny().yaml();
  const auto plan = [&](const std::string& threads) {
    return run_program(
        {"plan", scratch_.write("threads.yaml", replaced(yaml, "threads_per_rank: 1",
                                                         "threads_per_rank: " + threads))});
  };
  EXPECT_THAT(plan("1").out, AllOf(HasSubstr(", 1 thread,"), Not(HasSubstr("2 threads"))));
  EXPECT_THAT(plan("4").out, HasSubstr(", 4 threads,"));
  EXPECT_THAT(plan("0").out, Not(HasSubstr(", 0 threads")));
  EXPECT_THAT(plan("1").out, AllOf(HasSubstr("of activations"), HasSubstr("journal: about")));
}

}  // namespace
}  // namespace factflow::testing
