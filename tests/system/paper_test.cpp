// Every file of configs/paper plans, runs whole and is analysed, on small stand-ins for its models,
// and figures agree with everything.yaml.
//
// FACTFLOW_COUNTERFACT: a file of the whole dataset; then everything.yaml is run and analysed on it
// as well (tests/system/nightly.sh; two cores need about an hour).
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "experiments/evaluate/evaluation_arrays.hpp"
#include "experiments/heatmap/heatmap_arrays.hpp"
#include "experiments/sweep/knockout_arrays.hpp"
#include "results/results_file.hpp"
#include "tests/model/random_checkpoint.hpp"
#include "tests/source_dir.hpp"
#include "tests/system/paper_models.hpp"
#include "tests/system/program.hpp"

namespace factflow::testing {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class Paper : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    scratch_ = new factflow::TemporaryDirectory;
    write_paper_models(scratch_->path() / "models");
    write_paper_prompts(scratch_->path() / "prompts.jsonl");
  }
  static void TearDownTestSuite() { delete scratch_; }

  static std::string out(const std::string& name) { return (scratch_->path() / name).string(); }
  static Ended start(const std::string& command, const std::string& name,
                     const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {command, "configs/paper/" + name + ".yaml",
                                          "--models-dir", out("models")};
    if (std::find(more.begin(), more.end(), "--dataset") == more.end())
      arguments.insert(arguments.end(), {"--dataset", out("prompts.jsonl")});
    arguments.insert(arguments.end(), more.begin(), more.end());
    // Threads that spin for work make small runs on a busy machine many times slower.
    return run_program(arguments, {.patience = std::chrono::hours(3),
                                   .environment = {{"OMP_WAIT_POLICY", "passive"}}});
  }
  // The whole of it, as a user does: run, analyse, look.
  static void run_and_analyse(const std::string& name) {
    const Ended run = start("run", name, {"--out", out(name)});
    EXPECT_EQ(run.code, 0) << name << run.all();
    const Ended analysed = run_program({"analyse", out(name)});
    EXPECT_EQ(analysed.code, 0) << name << analysed.all();
    EXPECT_EQ(analysed.err, "") << name;
    EXPECT_TRUE(std::filesystem::exists(out(name) + "/report.html")) << name;
    EXPECT_FALSE(std::filesystem::is_empty(out(name) + "/figures")) << name;
  }
  static ResultsReader results(const std::string& name) {
    return ResultsReader(out(name) + "/results.h5");
  }

  static std::set<std::string> names() {
    std::set<std::string> names;
    for (const auto& entry :
         std::filesystem::directory_iterator(std::filesystem::path(source_dir()) / "configs/paper"))
      if (entry.path().extension() == ".yaml") names.insert(entry.path().stem());
    return names;
  }

  static factflow::TemporaryDirectory* scratch_;
};
factflow::TemporaryDirectory* Paper::scratch_ = nullptr;

// Every cell that the figure has, everything.yaml has too, with the same number up to float32
// rounding in products of other shapes. Returns how many there are.
int compare_cells(const ResultsReader& figure, const ResultsReader& everything,
                  const std::string& model) {
  int cells = 0;
  const auto all = kAllPrompts;
  const CellAxes mine = knockout_axes(figure, model, all),
                 theirs = knockout_axes(everything, model, all);
  for (const std::int64_t size : knockout_windows(figure, model)) {
    const CellWindow a = knockout_window(figure, model, size, all),
                     b = knockout_window(everything, model, size, all);
    const size_t starts = a.starts.size();
    EXPECT_EQ(a.starts, b.starts);
    for (size_t e = 0; e < mine.items.size(); ++e) {
      const auto edge =
          static_cast<size_t>(std::find(theirs.items.begin(), theirs.items.end(), mine.items[e]) -
                              theirs.items.begin());
      for (size_t p = 0; p < mine.prompts.size(); ++p) {
        const auto prompt = static_cast<size_t>(
            std::find(theirs.prompts.begin(), theirs.prompts.end(), mine.prompts[p]) -
            theirs.prompts.begin());
        for (size_t s = 0; s < starts; ++s) {
          const float x = a.probability[(e * mine.prompts.size() + p) * starts + s];
          if (std::isnan(x)) continue;
          ++cells;
          EXPECT_NEAR(x, b.probability.at((edge * theirs.prompts.size() + prompt) * starts + s),
                      1e-4)
              << model << " " << mine.items[e];
        }
      }
    }
  }
  return cells;
}

// Sizes of published models that configs/paper has not, as small as a plan needs them.
void write_config(const std::filesystem::path& directory, const std::string& name,
                  const std::string& config) {
  std::filesystem::create_directories(directory / name);
  std::ofstream(directory / name / "config.json") << config;
}

// Maps of all facts for twenty models: units, rows, memory and disk, and the time on every device
// whose rates are known.
TEST_F(Paper, AllFactsOfTwentyModelsPlan) {
  const std::filesystem::path models = out("models");
  for (const auto& [name, layers] :
       {std::pair("pythia-1.4b-deduped", 24), std::pair("pythia-2.8b-deduped", 32)})
    write_config(models / "EleutherAI", name,
                 fmt::format(R"({{"model_type": "gpt_neox", "num_hidden_layers": {},
                                  "hidden_size": 32, "num_attention_heads": 4,
                                  "intermediate_size": 64, "vocab_size": 4096}})",
                             layers));
  write_config(models / "Qwen", "Qwen2-1.5B",
               R"({"model_type": "qwen2", "num_hidden_layers": 28, "hidden_size": 32,
                   "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64,
                   "rms_norm_eps": 1e-6, "vocab_size": 4096, "tie_word_embeddings": true})");
  const Ended plan = run_program({"plan", "configs/locate/all_facts.yaml", "--models-dir",
                                  models.string(), "--dataset", out("prompts.jsonl")});
  ASSERT_EQ(plan.code, 0) << plan.all();
  std::size_t maps = 0;
  for (std::size_t at = plan.out.find("traces, restore h"); at != std::string::npos;
       at = plan.out.find("traces, restore h", at + 1))
    ++maps;
  EXPECT_EQ(maps, 20U);
  for (const char* words :
       {"of activations", "total", "journal: about", "about [^\n]+ in tf32 on one NVIDIA H200"})
    EXPECT_THAT(plan.out, ContainsRegex(words));
}

// Its heat maps are of other prompts at windows of 5 layers than at windows of 9.
TEST_F(Paper, EverythingRunsWholeAndIsAnalysed) {
  run_and_analyse("everything");
  const ResultsReader everything = results("everything");
  EXPECT_TRUE(everything.info().complete);
  EXPECT_EQ(everything.models().size(), 17U);
  EXPECT_NE(heatmap_prompts(everything, "mamba1-130M", 5),
            heatmap_prompts(everything, "mamba1-130M", 9));
  for (const char* stem : {"models", "channels_subject-last", "prompts", "heatmap_4830",
                           "heatmap_14035", "heatmap_windows_mamba1-130M"})
    EXPECT_TRUE(std::filesystem::exists(out("everything") + "/figures/" + stem + ".pdf")) << stem;
}

TEST_F(Paper, EveryFileRunsWholeIsAnalysedAndAgreesWithEverything) {
  if (!std::filesystem::exists(out("everything"))) run_and_analyse("everything");
  const ResultsReader everything = results("everything");
  std::vector<std::future<void>> running;  // two at a time
  for (const std::string& name : names()) {
    if (name == "everything") continue;
    if (running.size() == 2) {
      running.front().get();
      running.erase(running.begin());
    }
    running.push_back(std::async(std::launch::async, [name] { run_and_analyse(name); }));
  }
  running.clear();
  for (const std::string& name : names()) {
    if (name == "everything") continue;
    const ResultsReader figure = results(name);
    EXPECT_TRUE(figure.info().complete) << name;
    for (const ModelInfo& model : figure.models()) {
      EXPECT_THAT(read_evaluation(figure, model.name).rank, AllOf(Not(IsEmpty()), Each(1)))
          << model.name;
      if (name.starts_with("heatmaps"))
        EXPECT_EQ(heatmap_prompts(figure, model.name, 9).size(), 2U) << name << " " << model.name;
      else
        EXPECT_GT(compare_cells(figure, everything, model.name), 0) << name << " " << model.name;
    }
  }
}

TEST_F(Paper, EveryFilePlans) {
  for (const std::string& name : names()) {
    const Ended plan = start("plan", name);
    EXPECT_EQ(plan.code, 0) << name << plan.all();
  }
}

// The published prompts; what of them the stand-ins get right is what they have learnt to say.
TEST_F(Paper, EverythingRunsOnTheWholeDataset) {
  const char* dataset = std::getenv("FACTFLOW_COUNTERFACT");
  if (dataset == nullptr) GTEST_SKIP() << "takes an hour: FACTFLOW_COUNTERFACT names the dataset";
  const Ended run = start("run", "everything", {"--dataset", dataset, "--out", out("counterfact")});
  ASSERT_EQ(run.code, 0) << run.all();
  const Ended analysed =
      run_program({"analyse", out("counterfact")}, {.patience = std::chrono::hours(1)});
  EXPECT_EQ(analysed.code, 0) << analysed.all();
  const ResultsReader reader = results("counterfact");
  EXPECT_TRUE(reader.info().complete);
  EXPECT_GT(reader.prompts().id.size(), 20'000U);
  for (const ModelInfo& model : reader.models())
    EXPECT_EQ(heatmap_prompts(reader, model.name, 9).size() >= 4, true) << model.name;
}

TEST_F(Paper, EverythingPlansEachUnitOnce) {
  const Ended plan = start("plan", "everything", {"--limit", "2"});
  ASSERT_EQ(plan.code, 0) << plan.all();
  // Two prompts that are in all sets: one evaluation, one sweep and one unit of heat maps for each
  // of 17 models, whatever the number of figures that ask for them. A sweep of 7 models asks for
  // over 1,024 knockouts of each prompt, which makes a unit of it.
  EXPECT_THAT(plan.out, ContainsRegex("total +2 +58 "));
  EXPECT_THAT(plan.out, HasSubstr("sweep, 17 edges, windows 1 3 5 9 12 15"));
}

TEST_F(Paper, AModelThatIsNotInTheDirectoryIsNamed) {
  std::filesystem::create_directories(out("empty"));
  const Ended plan = run_program({"plan", "configs/paper/figure1.yaml", "--models-dir",
                                  out("empty"), "--dataset", out("prompts.jsonl")});
  EXPECT_EQ(plan.code, 2);
  EXPECT_THAT(plan.err,
              HasSubstr("hf download state-spaces/mamba-2.8b-hf --local-dir " + out("empty")));
}

}  // namespace
}  // namespace factflow::testing
