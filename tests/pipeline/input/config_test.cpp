#include "pipeline/input/config.hpp"

#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "tests/expect_input_error.hpp"
#include "tests/pipeline/sections.hpp"
#include "tests/source_dir.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr const char* kFull = R"(
name: demo
dataset: {path: demo/facts.jsonl, limit: 200}
models:
  - {name: gpt2, path: demo/models/gpt2}
  - {name: mamba, path: "hf:state-spaces/mamba-130m-hf@main", tokenizer: demo/models/mamba, head: embedding, gated_norm: all-channels}
select: {correct_for: all}
sweep:
  windows: {sizes: [1, 3, 5, 9], placement: centred}
  knockouts:
    - {from: [subject, relation, last, first], to: last}
    - {from: subject, to: last, channels: [slow, fast, not-slow, not-fast, quantile 2/5]}
    - {from: [context, subject], to: subject}
heatmaps: {window: 5, prompts: 8}
run: {device: "cuda:1", precision: tf32, threads_per_rank: 2, memory_limit: 8 GiB}
)";

constexpr const char* kShort = R"(
name: short
dataset: {path: facts.jsonl}
models: {name: m, path: models/m}
)";

TEST(Config, ReadsEveryKey) {
  const Config config = parse_config(kFull, "demo.yaml");
  EXPECT_EQ(config.file, "demo.yaml");
  EXPECT_EQ(config.name, "demo");
  EXPECT_EQ(config.dataset.path, "demo/facts.jsonl");
  EXPECT_EQ(config.dataset.limit, 200);
  ASSERT_EQ(config.models.size(), 2U);
  EXPECT_EQ(config.models[0].tokenizer, "");
  EXPECT_EQ(config.models[1].path, "hf:state-spaces/mamba-130m-hf@main");
  EXPECT_EQ(config.models[1].tokenizer, "demo/models/mamba");
  EXPECT_EQ(config.models[0].head, HeadChoice::kConfigured);
  EXPECT_EQ(config.models[1].head, HeadChoice::kEmbedding);
  EXPECT_EQ(config.models[0].gated_norm, GatedNormChoice::kPerGroup);
  EXPECT_EQ(config.models[1].gated_norm, GatedNormChoice::kAllChannels);
  EXPECT_THAT(config.select, ElementsAre(SelectConfig{}));
  ASSERT_EQ(sweeps_in(config).size(), 1U);
  const SweepConfig sweep = sweeps_in(config)[0];
  EXPECT_THAT(sweep.windows.sizes, ElementsAre(1, 3, 5, 9));
  EXPECT_EQ(sweep.windows.placement, Placement::kCentred);
  ASSERT_EQ(sweep.knockouts.size(), 3U);
  EXPECT_THAT(sweep.knockouts[0].from, ElementsAre(TokenRole::kSubject, TokenRole::kRelation,
                                                   TokenRole::kLast, TokenRole::kFirst));
  EXPECT_THAT(sweep.knockouts[0].channels, ElementsAre(ChannelSet{}));
  EXPECT_THAT(sweep.knockouts[1].channels[4], (ChannelSet{ChannelSet::Kind::kQuantile, 2, 5}));
  ASSERT_EQ(heatmaps_in(config).size(), 1U);
  EXPECT_THAT(heatmaps_in(config)[0].windows, ElementsAre(5));
  EXPECT_EQ(heatmaps_in(config)[0].prompts, 8);
  EXPECT_EQ(config.run.device, "cuda:1");
  EXPECT_EQ(config.run.precision, "tf32");
  EXPECT_EQ(config.run.threads_per_rank, 2);
  EXPECT_EQ(config.run.memory_limit, std::int64_t{8} << 30);
}

TEST(Config, FillsInDefaults) {
  const Config config = parse_config(kShort, "short.yaml");
  EXPECT_EQ(config.models.size(), 1U);  // one mapping in place of a list
  EXPECT_EQ(config.dataset, (DatasetConfig{.path = "facts.jsonl"}));
  EXPECT_THAT(config.select, ElementsAre(SelectConfig{}));
  EXPECT_EQ(config.run, RunConfig{});
  EXPECT_FALSE(config.experiments.any());
}

TEST(Config, ReadsDatasetFilters) {
  const Config config = parse_config(
      "name: x\ndataset: {path: f, format: known-1000, relations: P30, ids: [3, 1], sample: 5, "
      "seed: 7, "
      "limit: all,\n"
      "  reference_ids: true}\nmodels: {name: m, path: p}\n",
      "x.yaml");
  EXPECT_THAT(config.dataset.relations, ElementsAre("P30"));
  EXPECT_THAT(config.dataset.ids, ElementsAre(3, 1));
  EXPECT_EQ(config.dataset.sample, 5);
  EXPECT_EQ(config.dataset.seed, 7U);
  EXPECT_EQ(config.dataset.limit, 0);
  EXPECT_TRUE(config.dataset.reference_ids);
  EXPECT_EQ(config.dataset.format, "known-1000");
}

TEST(Config, ReadsEveryRuleOfSelection) {
  const auto select_of = [](const std::string& select) {
    return parse_config(std::string(kShort) + "select: " + select + "\n", "x.yaml").select.at(0);
  };
  using Rule = SelectConfig::Rule;
  EXPECT_EQ(select_of("{correct_for: self}").rule, Rule::kSelf);
  EXPECT_EQ(select_of("{correct_for: none}").rule, Rule::kNone);
  EXPECT_EQ(select_of("{correct_for: m}"), (SelectConfig{Rule::kTheseModels, {"m"}, ""}));
  EXPECT_EQ(select_of("{correct_for: [m]}"), (SelectConfig{Rule::kTheseModels, {"m"}, ""}));
  EXPECT_EQ(select_of("{ids: chosen.txt}"), (SelectConfig{Rule::kIds, {}, "chosen.txt"}));
}

TEST(Config, ReadsTheRuleOfTheAnswer) {
  const auto answer_of = [](const std::string& select) {
    return parse_config(std::string(kShort) + "select: " + select + "\n", "x.yaml")
        .select.at(0)
        .answer;
  };
  EXPECT_EQ(answer_of("{correct_for: self}"), AnswerRule::kContinuation);
  EXPECT_EQ(answer_of("{answer: continuation}"), AnswerRule::kContinuation);
  EXPECT_EQ(answer_of("{answer: first-token}"), AnswerRule::kFirstToken);
  EXPECT_EQ(answer_of("{ids: chosen.txt, answer: first-token}"), AnswerRule::kFirstToken);
}

constexpr const char* kSeveral = R"(
name: several
dataset: {path: facts.jsonl}
models_directory: models
models: [{name: a, path: "hf:org/a"}, {name: b, path: "hf:org/b"}]
select:
  - {name: common, ids: common.txt}
  - {name: own, correct_for: self, rank: 3}
sweep:
  - {windows: {sizes: 9}, knockouts: {from: subject, to: last}}
  - {select: own, models: b, windows: {sizes: [1, 9]}, knockouts: {from: last, to: last, channels: [all, slow]}}
heatmaps:
  - {window: 9, ids: [4, 2], models: [a]}
  - {windows: [1, 5], prompts: 3, select: own}
)";

TEST(Config, ReadsSeveralSetsSweepsAndHeatMaps) {
  const Config config = parse_config(kSeveral, "x.yaml");
  EXPECT_EQ(config.models_directory, "models");
  ASSERT_EQ(config.select.size(), 2U);
  EXPECT_EQ(config.select[0].name, "common");
  EXPECT_EQ(config.select[1].rank, 3);
  const std::vector<SweepConfig> sweep = sweeps_in(config);
  ASSERT_EQ(sweep.size(), 2U);
  EXPECT_THAT(sweep[0].models, IsEmpty());
  EXPECT_THAT(sweep[1].models, ElementsAre("b"));
  EXPECT_EQ(prompt_set(config, sweep[0].select), 0U);
  EXPECT_EQ(prompt_set(config, sweep[1].select), 1U);
  EXPECT_TRUE(is_for(sweep[0], "a"));
  EXPECT_FALSE(is_for(sweep[1], "a"));
  ASSERT_EQ(heatmaps_in(config).size(), 2U);
  EXPECT_THAT(heatmaps_in(config)[0].ids, ElementsAre(4, 2));
  EXPECT_EQ(heatmaps_in(config)[1].prompts, 3);
}

TEST(Config, OverridesReplaceKeysAndTheModelsDirectoryIsNoPartOfTheIdentity) {
  Config config = parse_config(kSeveral, "x.yaml");
  const std::string identity = identity_yaml(config);
  apply({.limit = {}, .dataset = "", .models_directory = "elsewhere"}, config);
  EXPECT_EQ(config.models_directory, "elsewhere");
  EXPECT_EQ(identity_yaml(config), identity);
  apply({.limit = 2, .dataset = "other.jsonl", .models_directory = ""}, config);
  EXPECT_EQ(config.dataset.limit, 2);
  EXPECT_EQ(config.dataset.path, "other.jsonl");
  EXPECT_EQ(config.models_directory, "elsewhere");
}

TEST(Config, ResolvedCopyReadsBackAsTheSameConfiguration) {
  for (const std::string& text :
       {std::string(kFull), std::string(kSeveral), std::string(kShort),
        std::string(kShort) + "select: {ids: 'odd name: #1'}\n",
        std::string(kShort) + "select: {correct_for: m}\nheatmaps: {windows: [1, 3], prompts: 1}\n"
                              "run: {memory_limit: 1000}\n"}) {
    const Config config = parse_config(text, "x.yaml");
    const std::string resolved = resolved_yaml(config);
    EXPECT_EQ(parse_config(resolved, "x.yaml"), config) << resolved;
    EXPECT_EQ(resolved_yaml(parse_config(resolved, "y.yaml")), resolved);
  }
}

TEST(Config, ResolvedCopyHoldsTheDefaults) {
  const std::string resolved = resolved_yaml(parse_config(kShort, "x.yaml"));
  for (const char* line :
       {"correct_for: all", "device: auto", "precision: fp32", "threads_per_rank: auto",
        "limit: all", "ids: all", "tokenizer: own", "head: configured", "gated_norm: per-group",
        "reference_ids: false", "seed: 0"})
    EXPECT_THAT(resolved, HasSubstr(line));
}

TEST(Config, IdentityLeavesOutWhatDoesNotChangeNumbers) {
  const auto identity_of = [](const std::string& run) {
    return identity_yaml(parse_config(std::string(kShort) + "run: " + run + "\n", "x.yaml"));
  };
  const std::string plain = identity_of("{precision: fp32}");
  EXPECT_EQ(identity_of("{device: cpu, threads_per_rank: 7, memory_limit: 1 GiB}"), plain);
  EXPECT_NE(identity_of("{precision: tf32}"), plain);
  EXPECT_THAT(plain, Not(HasSubstr("device")));
}

TEST(Config, HelpNamesEveryKeyWithin100Columns) {
  const std::string help = config_help();
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
  for (const char* key :
       {"  name: a name [required]", "dataset.path:", "dataset.relations:", "models[].tokenizer:",
        "models[].head: configured | embedding | own [configured]",
        "models[].gated_norm: per-group | all-channels [per-group]",
        "select[].correct_for:", "sweep[].windows.placement: fit | centred [fit]",
        "sweep[].knockouts[].channels:", "sweep[].select: first",
        "heatmaps[].windows:", "heatmaps[].ids:", "models_directory:",
        "run.memory_limit: auto, or a size such as 8 GiB [auto]"})
    EXPECT_THAT(help, HasSubstr(key));
}

constexpr const char* kPaths = R"(name: x
dataset: {path: ../facts.jsonl}
models_directory: ~/models
models:
  - {name: a, path: models/a/, tokenizer: "./tok/tokenizer.json"}
  - {name: b, path: /abs/b}
  - {name: c, path: "hf:org/c"}
select: {ids: ids.txt}
)";

TEST(ConfigPaths, CountFromTheFolderOfTheFile) {
  const TemporaryDirectory folder;
  const std::string root = folder.path().string();
  const Config config = read_config(folder.write("configs/x.yaml", kPaths));
  EXPECT_EQ(config.dataset.path, root + "/facts.jsonl");
  EXPECT_EQ(config.models_directory, std::string(std::getenv("HOME")) + "/models");
  EXPECT_EQ(config.models[0].path, root + "/configs/models/a");
  EXPECT_EQ(config.models[0].tokenizer, root + "/configs/tok/tokenizer.json");
  EXPECT_EQ(config.models[1].path, "/abs/b");
  EXPECT_EQ(config.models[2].path, "hf:org/c");
  EXPECT_EQ(config.models[2].tokenizer, "");
  EXPECT_EQ(config.select[0].ids_file, root + "/configs/ids.txt");
  // The copy means the same anywhere.
  const Config copy = read_config(folder.write("runs/x/config.yaml", resolved_yaml(config)));
  EXPECT_EQ(identity_yaml(copy), identity_yaml(config));
  EXPECT_EQ(resolved_yaml(copy), resolved_yaml(config));
}

TEST(ConfigPaths, WhatIsNotThereIsSaidByKeyLineAndFolder) {
  const TemporaryDirectory folder;
  const Config config = read_config(folder.write("configs/x.yaml", kPaths));
  const std::string root = folder.path().string();
  EXPECT_EQ(input_error_of([&] { require_path(config, config.dataset.path); }),
            root +
                "/configs/x.yaml:2: key dataset.path: there is no '../facts.jsonl' (looked for " +
                root + "/facts.jsonl); paths in a configuration are relative to its folder, " +
                root + "/configs");
  EXPECT_THAT(input_error_of([&] { require_path(config, config.models[0].path); }),
              HasSubstr("x.yaml:5: key models[0].path: there is no 'models/a/'"));
  EXPECT_THAT(input_error_of([&] { require_path(config, config.models[0].tokenizer); }),
              HasSubstr("key models[0].tokenizer: "));
  EXPECT_THAT(input_error_of([&] { require_path(config, config.models[1].path); }),
              EndsWith("x.yaml:6: key models[1].path: there is no /abs/b"));
  EXPECT_THAT(input_error_of([&] { require_path(config, config.select[0].ids_file); }),
              HasSubstr("x.yaml:8: key select.ids: "));
  const Config hub = read_config(
      folder.write("y.yaml", "name: x\ndataset: {path: f}\nmodels: {name: a, path: org/model}\n"));
  EXPECT_THAT(input_error_of([&] { require_path(hub, hub.models[0].path); }),
              EndsWith("; a model of the Hugging Face cache is written hf:org/model"));
  folder.write("facts.jsonl", "");
  EXPECT_NO_THROW(require_path(config, config.dataset.path));
  EXPECT_NO_THROW(require_path(config, "/what/the/command/line/says"));
}

TEST(ConfigPaths, TheOldReadingIsSaidWhereItWouldHaveFoundTheFile) {
  const TemporaryDirectory folder;
  const Config config = read_config(
      folder.write("configs/x.yaml",
                   "name: x\ndataset: {path: demo/facts.jsonl}\nmodels: {name: a, path: p}\n"));
  folder.write("demo/facts.jsonl", "");
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  EXPECT_THAT(input_error_of([&] { require_path(config, config.dataset.path); }),
              EndsWith("no longer to the working directory, from which it is there: write "
                       "../demo/facts.jsonl"));
  std::filesystem::current_path(before);
}

TEST(Config, ShippedConfigurationsAreValid) {
  for (const auto& [folder, least] : {std::pair{"/configs", 3}, std::pair{"/configs/paper", 16}}) {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(source_dir() + folder)) {
      if (entry.path().extension() != ".yaml") continue;
      const Config config = read_config(entry.path());
      for (const WrittenPath& path : config.paths) {
        if (path.path.ends_with("/counterfact.json")) continue;  // not ours
        EXPECT_NO_THROW(require_path(config, path.path)) << entry.path();
      }
      ++count;
    }
    EXPECT_GE(count, least);
  }
}

}  // namespace
}  // namespace factflow
