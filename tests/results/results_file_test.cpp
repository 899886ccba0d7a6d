#include "results/results_file.hpp"

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.hpp"
#include "base/files.hpp"
#include "experiments/evaluate/evaluation_arrays.hpp"
#include "experiments/heatmap/heatmap_arrays.hpp"
#include "experiments/sweep/knockout_arrays.hpp"
#include "results/hdf5_file.hpp"
#include "results/seal.hpp"

namespace factflow {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class RunResults : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              ("factflow_results_" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
    path_ = folder_ / "results.h5";
  }
  void TearDown() override { remove_tree(folder_); }

  std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(folder_), {}));
  }
  std::string bytes() const {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void put(const std::string& text) const { std::ofstream(path_, std::ios::binary) << text; }

  // what() of the InputError that reading everything gives, or "read".
  std::string read_all() const {
    try {
      const ResultsReader reader(path_);
      for (const ModelInfo& model : reader.models()) {
        if (has_evaluation(reader, model.name)) read_evaluation(reader, model.name);
        for (const std::int64_t window : knockout_windows(reader, model.name)) {
          knockout_axes(reader, model.name);
          knockout_window(reader, model.name, window);
        }
        for (const std::int64_t window : heatmap_windows(reader, model.name))
          for (const std::int64_t prompt : heatmap_prompts(reader, model.name, window))
            read_heatmap(reader, model.name, window, prompt);
      }
    } catch (const InputError& error) {
      return error.what();
    }
    return "read";
  }

  std::filesystem::path folder_, path_;
};

RunInfo info() {
  RunInfo info;
  info.name = "test";
  info.config = "name: test\n";
  info.answer = "continuation";
  info.elapsed_seconds = 1.5;
  info.units_done = 3;
  info.units_planned = 4;
  return info;
}

PromptTable prompts() {
  return {{7, 3}, {"A is", "B is"}, {"A", "B"}, {" x", " y"}, {"P1", ""}, {}};
}

EvaluationResult evaluation() {
  return {{7, 3},
          {0.5F, kNan},
          {1, 0},
          {10, 11},
          {" x", ""},
          {1, 0},
          {2, 2},
          {0, 0},
          {1, 1},
          2,
          {10, 4, 5, 6},
          {0.5F, 0.1F, kNan, kNan},
          {" x", "\xE2\x82", "", "q"},
          {0, 0}};
}

CellAxes axes() {
  return {{"subject->last", "context->last"}, {7, 3}, {1, 1, 0, 2}};
}

CellWindow window(std::int64_t size) {
  CellWindow window{size,
                    "fit",
                    {0, 1, 2},
                    std::vector<float>(12, 0.25F),
                    std::vector<std::int32_t>(12, 2),
                    {},
                    std::vector<std::int32_t>(12, 1)};
  window.probability[6] = kNan;
  window.rank[6] = window.tied[6] = 0;
  return window;
}

HeatmapResult heatmap() {
  return {2, "fit", 7, {"A", " is"}, {0, 1}, {0.1F, 0.2F, 0.3F, kNan}, {32, 318}};
}

void write_all(const std::filesystem::path& path) {
  ResultsWriter writer(path, info(), prompts());
  writer.begin_model({"tiny", "mamba", "models/tiny", 4, 8, 100, 1000, "d1", "d2"});
  writer.write(arrays_of(evaluation()));
  writer.write(arrays_of(axes()));
  writer.write(arrays_of(axes(), window(9)));
  writer.write(arrays_of(axes(), window(2)));
  writer.write(arrays_of(std::vector<HeatmapResult>{heatmap()})[0]);
  const std::vector<std::string> blocks = {"mamba", "attention, mlp", "mlp", "attention + mamba"};
  writer.begin_model({"another", "hybrid", "models/another", 4, 8, 100, 1000, "d1", "d2", blocks});
  writer.write(arrays_of(evaluation()));
  writer.publish({{"tiny", "sweep", "3", "out of memory"}, {"", "dataset", "", "line 4"}});
}

TEST_F(RunResults, RoundTrip) {
  write_all(path_);
  EXPECT_EQ(files(), 1U);  // nothing temporary is left
  const ResultsReader reader(path_);
  EXPECT_EQ(reader.info().name, "test");
  EXPECT_EQ(reader.info().answer, "continuation");
  EXPECT_EQ(reader.info().elapsed_seconds, 1.5);
  EXPECT_FALSE(reader.info().complete);
  EXPECT_EQ(reader.info().units_planned, 4);
  EXPECT_EQ(reader.hdf5_version(), hdf5::library_version());
  EXPECT_EQ(reader.prompts().id, prompts().id);
  EXPECT_EQ(reader.prompts().relation, prompts().relation);
  EXPECT_TRUE(reader.prompts().reference_id.empty());
  ASSERT_EQ(reader.failures().size(), 2U);
  EXPECT_EQ(reader.failures()[0].reason, "out of memory");
  ASSERT_EQ(reader.models().size(), 2U);
  EXPECT_EQ(reader.models()[0].name, "tiny");  // order of writing, not of names
  EXPECT_EQ(reader.models()[0].parameters, 1000);
  EXPECT_EQ(reader.models()[1].layer_blocks[3], "attention + mamba");
  // Of a file that does not say it, as versions before wrote them.
  EXPECT_EQ(reader.models()[0].layer_blocks, std::vector<std::string>(4, "mamba"));
  const EvaluationResult clean = read_evaluation(reader, "tiny");
  EXPECT_EQ(clean.prompt, evaluation().prompt);
  EXPECT_EQ(clean.probability[0], 0.5F);
  EXPECT_TRUE(std::isnan(clean.probability[1]));
  EXPECT_EQ(clean.top, 2);
  EXPECT_EQ(clean.answer_text, evaluation().answer_text);
  EXPECT_EQ(clean.changes, evaluation().changes);
  EXPECT_EQ(clean.top_text[1], "\uFFFD\uFFFD");
  EXPECT_EQ(knockout_windows(reader, "tiny"), (std::vector<std::int64_t>{2, 9}));
  EXPECT_EQ(knockout_axes(reader, "tiny").blocked, axes().blocked);
  const CellWindow nine = knockout_window(reader, "tiny", 9);
  EXPECT_EQ(nine.starts, window(9).starts);
  EXPECT_EQ(nine.rank, window(9).rank);
  EXPECT_EQ(nine.tied, window(9).tied);
  EXPECT_EQ(clean.tied, evaluation().tied);
  EXPECT_TRUE(std::isnan(nine.probability[6]));
  EXPECT_EQ(heatmap_prompts(reader, "tiny", 2), std::vector<std::int64_t>{7});
  EXPECT_EQ(read_heatmap(reader, "tiny", 2, 7).tokens, heatmap().tokens);
  EXPECT_EQ(read_heatmap(reader, "tiny", 2, 7).token_ids, heatmap().token_ids);
  EXPECT_TRUE(knockout_windows(reader, "another").empty());
  EXPECT_TRUE(heatmap_windows(reader, "another").empty());
}

TEST_F(RunResults, KnockoutsAreReadBySetOfPrompts) {
  {
    ResultsWriter writer(path_, info(), prompts());
    writer.begin_model({"tiny", "mamba", "models/tiny", 4, 8, 100, 1000, "d1", "d2"});
    CellAxes both{{"subject->last", "last->last"},
                  {7, 3},
                  {1, 2, 3, kNotKnown},
                  {"main", "own", "none"},
                  {1, 1, 0, 1, 0, 0}};
    writer.write(arrays_of(both));
    writer.write(arrays_of(both, {9,
                                  "fit",
                                  {0, 1},
                                  {0.1F, 0.2F, 0.3F, 0.4F, 0.5F, 0.6F, kNan, kNan},
                                  {1, 2, 3, 4, 5, 6, 0, 0},
                                  {1, 1, 1, 0, 0, 0},
                                  {0, 1, 2, 0, 0, 0, 0, 0}}));
    writer.write(arrays_of(
        both, {5, "fit", {0}, {0.1F, 0.2F, 0.3F, kNan}, {1, 2, 3, 0}, {1, 1, 0, 0, 0, 0}}));
    writer.publish({});
  }
  const ResultsReader reader(path_);
  EXPECT_EQ(prompt_sets(reader, "tiny"), (std::vector<std::string>{"main", "own", "none"}));
  EXPECT_EQ(knockout_axes(reader, "tiny").prompts,
            (std::vector<std::int64_t>{7, 3}));  // the first set
  EXPECT_EQ(knockout_axes(reader, "tiny").items.size(), 2U);
  EXPECT_EQ(knockout_window(reader, "tiny", 9).rank,
            (std::vector<std::int32_t>{1, 2, 3, 4, 5, 6, 0, 0}));
  const CellAxes own = knockout_axes(reader, "tiny", 1);
  EXPECT_EQ(own.prompts, (std::vector<std::int64_t>{3}));
  // Nobody asked prompt 3 for the other.
  EXPECT_EQ(own.items, (std::vector<std::string>{"subject->last"}));
  EXPECT_EQ(own.blocked, (std::vector<std::int64_t>{2}));
  EXPECT_EQ(knockout_window(reader, "tiny", 9, 1).rank, (std::vector<std::int32_t>{3, 4}));
  EXPECT_EQ(knockout_window(reader, "tiny", 9, 1).asked, std::vector<std::int32_t>{1});
  EXPECT_EQ(knockout_window(reader, "tiny", 9, 1).tied, (std::vector<std::int32_t>{2, 0}));
  // Prompt 3 was asked about at window 5, but as one of the main set.
  EXPECT_EQ(knockout_windows(reader, "tiny", 0), (std::vector<std::int64_t>{5, 9}));
  EXPECT_EQ(knockout_windows(reader, "tiny", 1), std::vector<std::int64_t>{9});
  EXPECT_EQ(knockout_window(reader, "tiny", 5, 1).rank, std::vector<std::int32_t>{0});
  EXPECT_TRUE(std::isnan(knockout_window(reader, "tiny", 5, 1).probability[0]));
  EXPECT_EQ(knockout_window(reader, "tiny", 5, kAllPrompts).asked.size(), 6U);
  EXPECT_TRUE(knockout_axes(reader, "tiny", 2).prompts.empty());
  EXPECT_TRUE(knockout_windows(reader, "tiny", 2).empty());
  EXPECT_EQ(knockout_axes(reader, "tiny", kAllPrompts).members.size(), 6U);
  EXPECT_THROW(knockout_axes(reader, "tiny", 3), InputError);
}

TEST_F(RunResults, AnEmptyRunIsAFile) {
  {
    ResultsWriter writer(path_, info(), {});
    writer.publish({});
  }
  const ResultsReader reader(path_);
  EXPECT_TRUE(reader.models().empty());
  EXPECT_TRUE(reader.failures().empty());
  EXPECT_TRUE(reader.prompts().id.empty());
}

TEST_F(RunResults, AnUnpublishedWriterLeavesTheOldFile) {
  write_all(path_);
  const std::string before = bytes();
  {
    ResultsWriter writer(path_, info(), prompts());
    writer.begin_model({"new", "gpt2", "", 4, 8, 100, 1000, "", ""});
    writer.write(arrays_of(evaluation()));
  }
  EXPECT_EQ(bytes(), before);
  EXPECT_EQ(files(), 1U);
}

// Runs `body` in a child that ends by exit(), handlers and all; its exit status, or 128 + the
// signal that ended it.
int in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) std::exit(body());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

TEST_F(RunResults, AKilledWriterLeavesTheOldFileAndTheNextOneReplacesItsLitter) {
  write_all(path_);
  const std::string before = bytes();
  const int status = in_child([&] {
    ResultsWriter writer(path_, info(), prompts());
    writer.begin_model({"new", "gpt2", "", 4, 8, 100, 1000, "", ""});
    writer.write(arrays_of(evaluation()));
    ::raise(SIGKILL);
    return 0;
  });
  EXPECT_EQ(status, 128 + SIGKILL);
  EXPECT_EQ(bytes(), before);
  write_all(path_);
  EXPECT_EQ(files(), 1U);
  EXPECT_EQ(read_all(), "read");
}

TEST_F(RunResults, AFullDiskIsARunErrorAndLeavesTheOldFile) {
  write_all(path_);
  const std::string before = bytes();
  const int status = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{20000, 20000};  // bytes of any one file: the write fails with EFBIG
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      ResultsWriter writer(path_, info(), prompts());
      writer.begin_model({"new", "gpt2", "", 4, 8, 100, 1000, "", ""});
      writer.write(arrays_of(axes()));
      for (int size = 1; size < 100; ++size) writer.write(arrays_of(axes(), window(size)));
      writer.publish({});
    } catch (const RunError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("File too large; finished work is kept"));
      return testing::Test::HasFailure() ? 1 : 17;
    }
    return 0;
  });
  EXPECT_EQ(status, 17);
  EXPECT_EQ(bytes(), before);
  EXPECT_EQ(files(), 1U);
}

TEST_F(RunResults, BadNamesAreInputErrorsAndBadVectorsAreBugs) {
  ResultsWriter writer(path_, info(), prompts());
  for (const char* name : {"", "a/b", "..", "prompts", "failures", "gpt 2"})
    EXPECT_THROW(writer.begin_model({name, "gpt2", "", 4, 8, 100, 1000, "", ""}), InputError)
        << name;
  EXPECT_THROW(writer.write(arrays_of(evaluation())), std::logic_error);
  writer.begin_model({"tiny", "gpt2", "", 4, 8, 100, 1000, "", ""});
  CellAxes unknown = axes();
  unknown.prompts[0] = 999;
  EXPECT_THROW(writer.write(arrays_of(unknown)), std::logic_error);
  writer.write(arrays_of(axes()));
  EXPECT_THROW(writer.write(arrays_of(axes())), std::logic_error);
  ArrayGroup lost{"lost"};
  lost.arrays = {{"cells", {"nowhere"}, std::vector<float>{1}, {"1", "d"}}};
  EXPECT_THROW(writer.write(lost), std::logic_error);
  CellWindow shorter = window(2);
  shorter.probability.pop_back();
  EXPECT_THROW(writer.write(arrays_of(axes(), shorter)), std::logic_error);
  EXPECT_THROW(writer.begin_model({"tiny", "gpt2", "", 4, 8, 100, 1000, "", ""}), std::logic_error);
}

TEST_F(RunResults, ATruncatedFileIsOneClearLine) {
  write_all(path_);
  const std::string whole = bytes();
  for (const std::size_t size :
       {whole.size() - 1, whole.size() / 2, std::size_t{600}, std::size_t{10}, std::size_t{0}}) {
    put(whole.substr(0, size));
    const std::string message = read_all();
    EXPECT_NE(message, "read") << size;
    EXPECT_EQ(message.find('\n'), std::string::npos);
    EXPECT_NE(message.find("results.h5"), std::string::npos) << message;
  }
}

TEST_F(RunResults, EveryFlippedByteIsNoticed) {
  write_all(path_);
  const std::string whole = bytes();
  for (std::size_t at = 0; at < whole.size(); at += 997) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x5A);
    put(damaged);
    EXPECT_NE(read_all().find("check sum"), std::string::npos) << at;
  }
}

TEST_F(RunResults, OtherSchemaVersionsAndOtherFilesAreRefused) {
  const auto with_version = [&](std::int64_t version) {
    hdf5::NewFile file(path_);
    if (version > 0) file.root().write_attribute("schema_version", version);
    file.close();
    seal_file(path_);
    return read_all();
  };
  EXPECT_NE(with_version(1).find("schema version 1, expected 2"), std::string::npos);
  EXPECT_NE(with_version(0).find("no results file"), std::string::npos);
  const std::string missing = with_version(kResultsSchemaVersion);
  EXPECT_NE(missing.find("no attribute 'name'"), std::string::npos) << missing;
}

// A file that is right but for what `change` adds to it.
void write_by_hand(const std::filesystem::path& path,
                   const std::function<void(hdf5::Group& model)>& change) {
  {
    ResultsWriter writer(path, info(), prompts());
    writer.publish({});
  }
  hdf5::NewFile file(path);
  {
    hdf5::Group& root = file.root();
    for (const char* name : {"name", "created", "factflow_version", "config", "selection", "models",
                             "answer", "dataset_path", "dataset_digest", "dataset_format",
                             "libtorch", "hdf5", "host", "device", "precision"})
      root.write_attribute(name, "x");
    for (const char* name : {"complete", "units_done", "units_planned"})
      root.write_attribute(name, std::int64_t{1});
    root.write_attribute("schema_version", kResultsSchemaVersion);
    root.write_attribute("elapsed_seconds", 1.0);
    hdf5::Group table = root.create_group("prompts");
    table.write_scale("prompt", std::vector<std::int64_t>{7, 3}, {"1", "d"});
    for (const char* name : {"text", "subject", "answer", "relation"})
      table.write(name, {2}, std::vector<std::string>(2), {"1", "d"});
    hdf5::Group failures = root.create_group("failures");
    for (const char* name : {"model", "stage", "prompt", "reason"})
      failures.write(name, {0}, std::vector<std::string>{}, {"1", "d"});
    hdf5::Group model = root.create_group("tiny");
    for (const char* name : {"family", "path", "checkpoint_digest", "tokenizer_digest"})
      model.write_attribute(name, "x");
    for (const char* name : {"layers", "hidden_size", "vocabulary", "parameters"})
      model.write_attribute(name, std::int64_t{4});
    change(model);
  }
  file.close();
  seal_file(path);
}

TEST_F(RunResults, InconsistentContentIsRefused) {
  using Group = hdf5::Group;
  const auto with = [&](const std::function<void(Group&)>& change) {
    write_by_hand(path_, change);
    return read_all();
  };
  EXPECT_EQ(with([](Group&) {}), "read");
  EXPECT_EQ(with([](Group& model) { model.write_attribute("layer_blocks", "a\nb\nc\nd"); }),
            "read");
  EXPECT_NE(with([](Group& model) {
              model.write_attribute("layer_blocks", "a\nb");
            }).find("'layer_blocks' has 2 lines, expected one for each of 4 layers"),
            std::string::npos);
  const auto knockout = [](std::vector<std::int64_t> ids, std::vector<std::int32_t> starts, float p,
                           std::int64_t attribute) {
    return [=](Group& model) {
      Group group = model.create_group("knockout");
      group.write_scale("edge", std::vector<std::string>{"subject->last"}, {"1", "d"});
      group.write_scale("prompt", ids, {"1", "d"});
      group.write("edges", {1, ids.size()}, std::vector<std::int64_t>(ids.size(), 1), {"1", "d"});
      Group window = group.create_group("window_2");
      window.write_attribute("window", attribute);
      window.write_attribute("placement", "fit");
      window.write_scale("start", starts, {"1", "d"});
      const std::size_t cells = ids.size() * starts.size();
      window.write("probability", {1, ids.size(), starts.size()}, std::vector<float>(cells, p),
                   {"1", "d"});
      window.write("rank", {1, ids.size(), starts.size()}, std::vector<std::int32_t>(cells, 1),
                   {"1", "d"});
    };
  };
  EXPECT_EQ(with(knockout({7}, {0, 1}, 0.5F, 2)), "read");
  const CellWindow older = knockout_window(ResultsReader(path_), "tiny", 2);
  EXPECT_TRUE(older.tied.empty());  // not counted
  EXPECT_TRUE(older.blocked_edges.empty());
  EXPECT_TRUE(older.rerouted.empty());
  for (const char* counts : {"blocked_edges", "rerouted"})
    EXPECT_NE(with([&](Group& model) {
                knockout({7}, {0, 1}, 0.5F, 2)(model);
                model.open_group("knockout")
                    .open_group("window_2")
                    .write(counts, {1, 1, 2}, std::vector<std::int32_t>{3, -2}, {"1", "d"});
              }).find("at least 0, and -1"),
              std::string::npos)
        << counts;
  EXPECT_NE(with(knockout({7}, {0, 1}, kNan, 2)).find("0 where there is no answer"),
            std::string::npos);
  EXPECT_NE(with([&](Group& model) {
              knockout({7}, {0, 1}, 0.5F, 2)(model);
              model.open_group("knockout")
                  .open_group("window_2")
                  .write("tied", {1, 1, 2}, std::vector<std::int32_t>{0, 1}, {"1", "d"});
            }).find("below the rank"),
            std::string::npos);
  EXPECT_NE(with(knockout({8}, {0, 1}, 0.5F, 2)).find("prompt 8 is not in /prompts"),
            std::string::npos);
  EXPECT_NE(with(knockout({7, 7}, {0, 1}, 0.5F, 2)).find("differ from each other"),
            std::string::npos);
  EXPECT_NE(with(knockout({7}, {1, 0}, 0.5F, 2)).find("ascending layers up to 4"),
            std::string::npos);
  EXPECT_NE(with(knockout({7}, {0, 9}, 0.5F, 2)).find("ascending layers up to 4"),
            std::string::npos);
  EXPECT_NE(with(knockout({7}, {0, 1}, 1.5F, 2)).find("between 0 and 1"), std::string::npos);
  EXPECT_NE(with(knockout({7}, {0, 1}, 0.5F, 3)).find("disagree"), std::string::npos);
  EXPECT_NE(with([](Group& model) { model.create_group("evaluation"); }).find("is missing"),
            std::string::npos);
}

}  // namespace
}  // namespace factflow
