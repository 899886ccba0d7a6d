// Every file of configs/hybrids plans, and everything.yaml runs and is analysed, on small stand-ins
// for its models: the same families, nine layers, random weights. Such models know nothing, so all
// prompts are swept and not those that they get right.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "experiments/sweep/knockout_arrays.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "results/results_file.hpp"
#include "tests/model/hybrid_configs.hpp"
#include "tests/model/random_checkpoint.hpp"
#include "tests/source_dir.hpp"
#include "tests/system/program.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow::testing {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr int kLayers = 9;
const fs::path kSource = source_dir(), kConfigs = kSource / "configs/hybrids";

// `kinds` over and over, of all layers.
json in_turn(const json& kinds) {
  json all = json::array();
  for (size_t i = 0; i < kLayers; ++i) all.push_back(kinds[i % kinds.size()]);
  return all;
}

json hybrid(const std::string& name, const json& more = json::object()) {
  json config = small_hybrid_config(name);
  config["num_hidden_layers"] = kLayers;
  config.update(more);
  return config;
}

json decoder(const std::string& name) {
  json config = small_config(name);
  config["num_hidden_layers"] = kLayers;
  config["layer_types"] = in_turn({"full_attention"});
  return config;
}

std::map<std::string, json> stand_ins() {
  const json delta = {{"layer_types", in_turn({"linear_attention", "linear_attention",
                                               "linear_attention", "full_attention"})}};
  return {{"Qwen/Qwen3.5-0.8B", hybrid("qwen3_5", delta)},
          {"Qwen/Qwen3-0.6B-Base", decoder("qwen3")},
          {"ibm-granite/granite-4.0-h-micro",
           hybrid("granite_hybrid", {{"layer_types", in_turn({"mamba", "mamba", "attention"})}})},
          {"ibm-granite/granite-4.0-micro",
           hybrid("granite_hybrid", {{"layer_types", in_turn({"attention"})}})},
          {"tiiuae/Falcon-H1-0.5B-Base", hybrid("falcon_h1")},
          {"tiiuae/Falcon-H1-1.5B-Base", hybrid("falcon_h1", {{"mamba_rms_norm", false}})},
          {"ibm-ai-platform/Bamba-9B-v2", hybrid("bamba", {{"attn_layer_indices", {2, 5}}})},
          {"nvidia/Nemotron-H-8B-Base-8K",
           hybrid("nemotron_h", {{"hybrid_override_pattern", "M-M-*-M-M"}})},
          {"Zyphra/Zamba2-2.7B",
           hybrid("zamba2", {{"layers_block_type", in_turn({"mamba", "mamba", "hybrid"})}})},
          {"allenai/Olmo-Hybrid-7B", hybrid("olmo_hybrid", delta)},
          {"google/recurrentgemma-2b", hybrid("recurrent_gemma")},
          {"LiquidAI/LFM2-350M",
           hybrid("lfm2", {{"layer_types", in_turn({"conv", "conv", "full_attention"})}})},
          {"RWKV/RWKV7-Goose-World3-1.5B-HF", hybrid("rwkv7")}};
}

class Hybrids : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    scratch_ = new factflow::TemporaryDirectory;
    unsigned seed = 1;
    for (auto [name, config] : stand_ins()) {
      // Of families that need a first token, one that adds it.
      const fs::path tokenizer = name.starts_with("google")
                                     ? kSource / "tests/oracle/tokenizers/mistral-style"
                                     : kSource / "demo/models/gpt2";
      config["vocab_size"] = Tokenizer::load(tokenizer / "tokenizer.json").vocabulary_size();
      const fs::path directory = scratch_->path() / "models" / name;
      fs::create_directories(directory);
      write_checkpoint(directory, config, random_tensors(config, seed++));
      fs::copy_file(tokenizer / "tokenizer.json", directory / "tokenizer.json");
    }
    std::ofstream(scratch_->path() / "prompts.jsonl")
        << R"({"id": 1, "prompt": "The capital of France is", "subject": "France", "answer": "Paris"})"
        << "\n"
        << R"({"id": 2, "prompt": "In Wallonia, people speak", "subject": "Wallonia", "answer": "French"})"
        << "\n"
        << R"({"id": 3, "prompt": "Marie Duval taught them in", "subject": "Marie Duval", "answer": "French"})"
        << "\n";
  }
  static void TearDownTestSuite() { delete scratch_; }

  static std::string in_scratch(const std::string& name) {
    return (scratch_->path() / name).string();
  }
  static Ended start(const std::string& command, const std::string& config,
                     const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {command,        config,
                                      "--models-dir", in_scratch("models"),
                                      "--dataset",    in_scratch("prompts.jsonl")};
    words.insert(words.end(), more.begin(), more.end());
    return run_program(words, {.environment = {{"OMP_WAIT_POLICY", "passive"}}});
  }

  static factflow::TemporaryDirectory* scratch_;
};
factflow::TemporaryDirectory* Hybrids::scratch_ = nullptr;

TEST_F(Hybrids, EveryFilePlans) {
  for (const auto& entry : fs::directory_iterator(kConfigs)) {
    const Ended ended = start("plan", entry.path().string());
    EXPECT_EQ(ended.code, 0) << entry.path() << ended.all();
    EXPECT_THAT(ended.out, ::testing::HasSubstr("units")) << entry.path();
  }
}

// A letter for each layer, as tables have them: A attention, R recurrent, B both, - neither.
const std::map<std::string, std::string> kMixers = {
    {"qwen3.5-0.8B", "RRRARRRAR"},      {"qwen3-0.6B", "AAAAAAAAA"},
    {"granite4-h-micro", "RRARRARRA"},  {"granite4-micro", "AAAAAAAAA"},
    {"falcon-h1-0.5B", "BBBBBBBBB"},    {"falcon-h1-1.5B", "BBBBBBBBB"},
    {"bamba-9B", "RRARRARRR"},          {"nemotron-h-8B", "R-R-A-R-R"},
    {"zamba2-2.7B", "RRBRRBRRB"},       {"olmo-hybrid-7B", "RRRARRRAR"},
    {"recurrentgemma-2B", "RARARARAR"}, {"lfm2-350M", "RRARRARRA"},
    {"rwkv7-1.5B", "RRRRRRRRR"}};

bool is_hybrid(const std::string& mixers) {
  return mixers.find('B') != std::string::npos ||
         (mixers.find('A') != std::string::npos && mixers.find('R') != std::string::npos);
}

// Claims, tables and figures of who carries the facts: of every hybrid, and of no control.
void expect_answers(const fs::path& run) {
  const std::string models = read_file(run / "tables/models.csv"),
                    carriers = read_file(run / "tables/carriers.csv"),
                    claims = read_file(run / "tables/claims.csv"),
                    page = read_file(run / "report.html");
  std::size_t hybrids = 0;
  for (const auto& [model, mixers] : kMixers) {
    EXPECT_THAT(models, ::testing::HasSubstr(",9," + mixers + ",")) << model;
    EXPECT_THAT(carriers, ::testing::HasSubstr("\n" + model + ",")) << model;
    const bool hybrid = is_hybrid(mixers);
    hybrids += hybrid ? 1 : 0;
    for (const char* figure : {"carriers_layers_", "carriers_depth_"})
      for (const char* window : {"_w1", "_w5", "_w9"}) {
        const bool of_layers = std::string(figure) == "carriers_layers_";
        const fs::path file =
            run / "figures" / (figure + model + (of_layers ? "" : window) + ".svg");
        EXPECT_EQ(fs::exists(file), hybrid) << file;
      }
    EXPECT_EQ(page.find("<summary>" + model + ", by depth and layer") != std::string::npos, hybrid)
        << model;
  }
  EXPECT_EQ(hybrids, 10u);
  EXPECT_TRUE(fs::exists(run / "figures/carriers.svg"));
  EXPECT_THAT(page, ::testing::HasSubstr("<section id=\"carriers\">"));
  EXPECT_THAT(page, ::testing::HasSubstr("control: recurrent only"));
  // Four statements of each of four edges, about each hybrid. Two facts decide nothing.
  for (const char* statement :
       {"Attention carries ", "The state carries ", "Either attention or the state suffices for ",
        "Both attention and the state are needed for "})
    for (const char* edge : {"subject", "relation-minus-last", "last", "first"})
      EXPECT_THAT(claims, ::testing::HasSubstr(statement + std::string(edge) + " \u2192 last"));
  EXPECT_THAT(claims, ::testing::HasSubstr("2 prompts of 2 facts, asked are 10 facts"));
}

TEST_F(Hybrids, EverythingRunsAndIsAnalysed) {
  std::ifstream file(kConfigs / "everything.yaml");
  std::string text{std::istreambuf_iterator<char>(file), {}};
  for (const auto& [from, to] :
       {std::pair<std::string, std::string>{"correct_for: self", "correct_for: none"},
        {"precision: tf32", "precision: fp32"}}) {
    ASSERT_NE(text.find(from), std::string::npos) << from;
    text.replace(text.find(from), from.size(), to);
  }
  std::ofstream(in_scratch("everything.yaml")) << text;
  const Ended run =
      start("run", in_scratch("everything.yaml"), {"--out", in_scratch("out"), "--limit", "2"});
  ASSERT_EQ(run.code, 0) << run.all();
  const Ended analysed = run_program({"analyse", in_scratch("out")});
  EXPECT_EQ(analysed.code, 0) << analysed.all();
  const ResultsReader results(in_scratch("out") + "/results.h5");
  EXPECT_TRUE(results.info().complete);
  std::set<std::string> paths;
  for (const std::string& item : knockout_axes(results, "granite4-h-micro", kAllPrompts).items)
    paths.insert(item);
  EXPECT_EQ(paths.size(), 12u);  // four roles on three paths
  expect_answers(fs::path(in_scratch("out")));
}

// The demo's two hybrids. Attention carries the facts of the one with both side by side in every
// layer; the one that takes turns has both to fall back on, so neither alone is much of the effect.
TEST_F(Hybrids, TheDemoSaysWhoCarriesItsFacts) {
  const std::string out = in_scratch("demo");
  const Ended run = run_program(
      {"run", (kConfigs / "demo.yaml").string(), "--out", out, "--limit", "20"}, {.ranks = 2});
  ASSERT_EQ(run.code, 0) << run.all();
  const Ended analysed = run_program({"analyse", out});
  ASSERT_EQ(analysed.code, 0) << analysed.all();
  using ::testing::ContainsRegex;
  EXPECT_THAT(analysed.out,
              ContainsRegex("falcon-h1 +subject->last +5 +-[0-9.]+ +100 +\\[(99|100), 100\\] +0 "
                            "+\\[0, 0\\] .*attention carries it"));
  EXPECT_THAT(analysed.out, ContainsRegex("qwen3.5 +subject->last +5 +-[78][0-9.]+ +[23][0-9] "
                                          "+\\[[0-9, ]+\\] +[23][0-9] "));
  EXPECT_THAT(analysed.out, ::testing::HasSubstr("control: attention only"));
  EXPECT_THAT(analysed.out, ::testing::HasSubstr("control: recurrent only"));
}

}  // namespace
}  // namespace factflow::testing
