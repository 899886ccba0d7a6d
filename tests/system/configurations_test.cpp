// Every file of configs/ has a test that runs it: those of configs/paper in paper_test.cpp, on
// stand-ins for their models, the others here; of configs/beyond and configs/locate those for large
// models plan.
//
// FACTFLOW_WHOLE=1: without --limit (tests/system/nightly.sh; `make demo` runs the largest daily).
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "results/results_file.hpp"
#include "tests/source_dir.hpp"
#include "tests/system/program.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow::testing {
namespace {

namespace fs = std::filesystem;

const fs::path kConfigs = fs::path(source_dir()) / "configs";

std::set<fs::path> files_of(const fs::path& folder) {
  std::set<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_regular_file() && entry.path().extension() == ".yaml") files.insert(entry.path());
  return files;
}

// A file in a new folder needs a test of its own, and an entry here.
TEST(Configurations, EveryFileIsInAFolderWhoseFilesAreTested) {
  std::set<fs::path> tested;
  for (const char* folder : {"", "beyond", "locate", "paper", "slurm"})
    tested.merge(files_of(kConfigs / folder));
  for (const auto& entry : fs::recursive_directory_iterator(kConfigs)) {
    const fs::path extension = entry.path().extension();
    const bool configuration = extension == ".yaml" || extension == ".yml" || extension == ".json";
    EXPECT_TRUE(!configuration || tested.contains(entry.path())) << entry.path() << " has no test";
  }
}

TEST(Configurations, ThoseOfTheDemoRunAndAreAnalysed) {
  const bool whole = std::getenv("FACTFLOW_WHOLE") != nullptr;
  std::set<fs::path> configs = files_of(kConfigs);
  for (const fs::path& config : files_of(kConfigs / "beyond"))
    if (config.filename().string().starts_with("demo-")) configs.insert(config);
  for (const fs::path& config : configs) {
    const TemporaryDirectory scratch;
    const std::string out = (scratch / "out").string();
    std::vector<std::string> words = {"run", config.string(), "--out", out};
    if (!whole) words.insert(words.end(), {"--limit", "30"});
    const Ended run = run_program(words, {.ranks = 2});
    EXPECT_EQ(run.code, 0) << config << run.all();
    const Ended analysed = run_program({"analyse", out});
    EXPECT_EQ(analysed.code, 0) << config << analysed.all();
    EXPECT_EQ(analysed.err, "") << config;
    EXPECT_TRUE(ResultsReader(out + "/results.h5").info().complete) << config;
    EXPECT_TRUE(fs::exists(out + "/report.html")) << config;
    EXPECT_FALSE(fs::is_empty(out + "/figures")) << config;
  }
}

// As many layers as the models of configs/locate have; a plan needs no more.
void write_locate_models(const fs::path& directory) {
  const std::pair<const char*, const char*> models[] = {
      {"mamba-2.8b-hf", R"({"model_type": "mamba", "num_hidden_layers": 64, "hidden_size": 16,
                            "state_size": 4, "vocab_size": 4096})"},
      {"pythia-2.8b-deduped",
       R"({"model_type": "gpt_neox", "num_hidden_layers": 32, "hidden_size": 32,
           "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 4096})"}};
  for (const auto& [name, config] : models) {
    fs::create_directories(directory / name);
    std::ofstream(directory / name / "config.json") << config;
  }
}

// A file of the Relations dataset for each relation that configs/locate names; 140 facts each.
void write_relations(const fs::path& directory) {
  fs::create_directories(directory);
  for (const char* name :
       {"country capital city", "person occupation", "plays pro sport", "company CEO", "company hq",
        "landmark in country", "product by company", "person native language"}) {
    std::ofstream out(directory / (std::string(name) + ".json"));
    out << R"({"name": ")" << name << R"(", "prompt_templates": ["{} goes with"], "samples": [)";
    for (int i = 0; i < 140; ++i)
      out << (i == 0 ? "" : ",") << R"({"subject": "Subject )" << i << R"(", "object": "Object )"
          << i % 7 << "\"}";
    out << "]}";
  }
}

TEST(Configurations, ThoseOfTheSecondPaperPlan) {
  const TemporaryDirectory scratch;
  write_locate_models(scratch / "models");
  write_relations(scratch / "relations");
  std::ofstream(scratch / "facts.jsonl")
      << R"({"prompt": "France goes with", "subject": "France", "answer": "Paris", "new_answer": "Rome"})";
  for (const fs::path& config : files_of(kConfigs / "locate")) {
    const bool demo = config.stem() == "demo", rome = config.stem() == "rome";
    std::vector<std::string> words = {demo ? "validate" : "plan", config.string()};
    if (!demo)
      words.insert(words.end(), {"--models-dir", (scratch / "models").string(), "--dataset",
                                 (scratch / (rome ? "facts.jsonl" : "relations")).string()});
    const Ended ended = run_program(words);
    EXPECT_EQ(ended.code, 0) << config << ended.all();
  }
}

TEST(Configurations, TheProfilesMakeJobs) {
  for (const fs::path& profile : files_of(kConfigs / "slurm")) {
    const TemporaryDirectory scratch;
    const Ended ended =
        run_program({"submit", (kConfigs / "demo-quick.yaml").string(), "--profile",
                     profile.string(), "--dry-run", "--out", (scratch / "out").string()});
    EXPECT_EQ(ended.code, 0) << profile << ended.all();
  }
}

}  // namespace
}  // namespace factflow::testing
