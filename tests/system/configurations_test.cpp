// Every file of configs/ has a test that runs it: those of configs/paper in paper_test.cpp and of
// configs/hybrids in hybrids_test.cpp, on stand-ins for their models, the others here; of
// configs/beyond and configs/locate those for large models plan.
//
// FACTFLOW_WHOLE=1: without --limit (tests/system/nightly.sh; `make demo` runs the largest daily).
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "results/results_file.hpp"
#include "tests/source_dir.hpp"
#include "tests/system/program.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow::testing {
namespace {

namespace fs = std::filesystem;

const fs::path kConfigs = fs::path(source_dir()) / "configs";

// --limit of a run: more than the ten facts that intervals are of, and as many as a file draws.
std::string few_prompts(const fs::path& config) {
  if (config.stem() == "demo-lre") return "30";                      // facts of one relation
  if (config.stem() == "demo-mean-knockout") return "24";            // references.prompts
  return config.parent_path().filename() == "beyond" ? "24" : "14";  // parts.cumulate
}

std::set<fs::path> files_of(const fs::path& folder) {
  std::set<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_regular_file() && entry.path().extension() == ".yaml") files.insert(entry.path());
  return files;
}

// A file in a new folder needs a test of its own, and an entry here.
TEST(Configurations, EveryFileIsInAFolderWhoseFilesAreTested) {
  std::set<fs::path> tested;
  for (const char* folder : {"", "beyond", "hybrids", "locate", "paper", "slurm", "transformers"})
    tested.merge(files_of(kConfigs / folder));
  for (const auto& entry : fs::recursive_directory_iterator(kConfigs)) {
    const fs::path extension = entry.path().extension();
    const bool configuration = extension == ".yaml" || extension == ".yml" || extension == ".json";
    EXPECT_TRUE(!configuration || tested.contains(entry.path())) << entry.path() << " has no test";
  }
}

TEST(Configurations, ThoseOfTheDemoRunAndAreAnalysed) {
  const bool whole = std::getenv("FACTFLOW_WHOLE") != nullptr;
  for (const fs::path& config : files_of(kConfigs)) {
    const TemporaryDirectory scratch;
    const std::string out = (scratch / "out").string();
    std::vector<std::string> words = {"run", config.string(), "--out", out};
    if (!whole) words.insert(words.end(), {"--limit", few_prompts(config)});
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

// Narrow models of as many layers as those of configs/transformers; a plan needs no more.
void write_transformers(const fs::path& directory) {
  struct Model {
    const char *name, *family;
    int layers;
  };
  for (const Model& model : std::vector<Model>{{"Qwen3-0.6B-Base", "qwen3", 28},
                                               {"Qwen3-1.7B-Base", "qwen3", 28},
                                               {"Qwen3-8B-Base", "qwen3", 36},
                                               {"OLMo-2-0425-1B", "olmo2", 16},
                                               {"OLMo-2-1124-7B", "olmo2", 32},
                                               {"Olmo-3-1025-7B", "olmo3", 32},
                                               {"gemma-2-2b", "gemma2", 26},
                                               {"gemma-2-9b", "gemma2", 42},
                                               {"gemma-3-270m", "gemma3_text", 18},
                                               {"gemma-3-1b-pt", "gemma3_text", 26},
                                               {"Phi-3-mini-4k-instruct", "phi3", 32},
                                               {"SmolLM3-3B-Base", "smollm3", 36},
                                               {"granite-3.3-2b-base", "granite", 40}}) {
    fs::create_directories(directory / model.name);
    std::ofstream(directory / model.name / "config.json")
        << R"({"model_type": ")" << model.family << R"(", "num_hidden_layers": )" << model.layers
        << R"(, "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2,
             "intermediate_size": 64, "vocab_size": 4096})";
  }
  fs::create_directories(directory / "gpt-j-6b");
  std::ofstream(directory / "gpt-j-6b" / "config.json")
      << R"({"model_type": "gptj", "n_layer": 28, "n_embd": 256, "n_head": 4, "vocab_size": 4096})";
  for (const auto& [name, layers] :
       {std::pair{"opt-350m", 24}, {"opt-1.3b", 24}, {"opt-6.7b", 32}}) {
    fs::create_directories(directory / name);
    std::ofstream(directory / name / "config.json")
        << R"({"model_type": "opt", "num_hidden_layers": )" << layers
        << R"(, "hidden_size": 32, "num_attention_heads": 4, "ffn_dim": 64, "vocab_size": 4096})";
  }
}

TEST(Configurations, ThoseOfNewerTransformersPlan) {
  const TemporaryDirectory scratch;
  write_transformers(scratch / "models");
  std::ofstream(scratch / "facts.jsonl")
      << R"({"prompt": "France goes with", "subject": "France", "answer": "Paris", "new_answer": "Rome"})";
  for (const fs::path& config : files_of(kConfigs / "transformers")) {
    const Ended ended =
        run_program({"plan", config.string(), "--models-dir", (scratch / "models").string(),
                     "--dataset", (scratch / "facts.jsonl").string()});
    EXPECT_EQ(ended.code, 0) << config << ended.all();
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
    if (config.stem() == "all_facts") continue;  // of twenty models: in paper_test.cpp
    const bool demo = config.stem() == "demo", rome = config.stem() == "rome";
    std::vector<std::string> words = {demo ? "validate" : "plan", config.string()};
    if (!demo)
      words.insert(words.end(), {"--models-dir", (scratch / "models").string(), "--dataset",
                                 (scratch / (rome ? "facts.jsonl" : "relations")).string()});
    const Ended ended = run_program(words);
    EXPECT_EQ(ended.code, 0) << config << ended.all();
  }
}

// As many layers, heads and channels as the files of configs/beyond divide; a plan needs no more.
void write_beyond_models(const fs::path& directory) {
  const auto mamba = [](const char* type, int layers) {
    return fmt::format(R"({{"model_type": "{}", "num_hidden_layers": {}, "hidden_size": 64,
                           "state_size": 4, "vocab_size": 4096}})",
                       type, layers);
  };
  const auto mamba2 = [](int layers) {
    return fmt::format(R"({{"model_type": "mamba2", "num_hidden_layers": {}, "hidden_size": 64,
                           "num_heads": 32, "head_dim": 4, "state_size": 8, "n_groups": 1,
                           "vocab_size": 4096}})",
                       layers);
  };
  const std::pair<const char*, std::string> models[] = {
      {"mamba-130m-hf", mamba("mamba", 24)},
      {"mamba-1.4b-hf", mamba("mamba", 48)},
      {"mamba-2.8b-hf", mamba("mamba", 64)},
      {"falcon-mamba-7b", mamba("falcon_mamba", 64)},
      {"mamba2-1.3b", mamba2(48)},
      {"mamba2-2.7b", mamba2(64)},
      {"gpt2-xl", R"({"model_type": "gpt2", "n_layer": 48, "n_head": 25, "n_embd": 100,
                      "vocab_size": 4096})"},
      {"SmolLM2-135M-Instruct",
       R"({"model_type": "llama", "num_hidden_layers": 30, "hidden_size": 36,
                           "num_attention_heads": 9, "num_key_value_heads": 3,
                           "intermediate_size": 64, "vocab_size": 4096})"},
      {"Llama-3.2-3B", R"({"model_type": "llama", "num_hidden_layers": 28, "hidden_size": 96,
                           "num_attention_heads": 24, "num_key_value_heads": 8,
                           "intermediate_size": 64, "vocab_size": 4096})"}};
  for (const auto& [name, config] : models) {
    fs::create_directories(directory / name);
    std::ofstream(directory / name / "config.json") << config;
  }
  // Whose tokenizer the files of Mamba-2 lack.
  fs::create_directories(directory / "gpt-neox-20b");
}

TEST(Configurations, ThoseBeyondThePaperRunOnTheDemoAndPlan) {
  const TemporaryDirectory scratch;
  write_beyond_models(scratch / "models");
  std::ofstream facts(scratch / "facts.jsonl");
  for (int i = 0; i < 200; ++i)
    facts
        << fmt::format(
               R"({{"prompt": "Subject {0} goes with", "subject": "Subject {0}", "answer": "Paris"}})",
               i)
        << "\n";
  facts.close();
  for (const fs::path& config : files_of(kConfigs / "beyond")) {
    if (config.stem().string().starts_with("demo")) {
      const std::string out = (scratch / config.stem()).string();
      const Ended run = run_program(
          {"run", config.string(), "--limit", few_prompts(config), "--out", out}, {.ranks = 2});
      EXPECT_EQ(run.code, 0) << config << run.all();
      const Ended analysed = run_program({"analyse", out});
      EXPECT_EQ(analysed.code, 0) << config << analysed.all();
      EXPECT_EQ(analysed.err, "") << config;
      EXPECT_FALSE(fs::is_empty(out + "/figures")) << config;
      continue;
    }
    std::vector<std::string> words = {"plan", config.string(), "--models-dir",
                                      (scratch / "models").string()};
    // Its roles are patterns of its own prompts.
    if (config.stem() != "tasks")
      words.insert(words.end(), {"--dataset", (scratch / "facts.jsonl").string()});
    const Ended planned = run_program(words);
    EXPECT_EQ(planned.code, 0) << config << planned.all();
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
