#include "pipeline/input/config.hpp"

#include <filesystem>
#include <sstream>

#include "tests/pipeline/input/expect_input_error.hpp"

namespace factflow {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr const char* kFull = R"(
name: demo
dataset: {path: demo/facts.jsonl, limit: 200}
models:
  - {name: gpt2, path: demo/models/gpt2}
  - {name: mamba, path: "hf:state-spaces/mamba-130m-hf@main", tokenizer: demo/models/mamba}
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
  EXPECT_EQ(config.select.rule, SelectConfig::Rule::kAllModels);
  ASSERT_TRUE(config.sweep);
  EXPECT_THAT(config.sweep->windows.sizes, ElementsAre(1, 3, 5, 9));
  EXPECT_EQ(config.sweep->windows.placement, Placement::kCentred);
  ASSERT_EQ(config.sweep->knockouts.size(), 3U);
  EXPECT_THAT(config.sweep->knockouts[0].from,
              ElementsAre(TokenRole::kSubject, TokenRole::kRelation, TokenRole::kLast, TokenRole::kFirst));
  EXPECT_THAT(config.sweep->knockouts[0].channels, ElementsAre(ChannelSet{}));
  EXPECT_THAT(config.sweep->knockouts[1].channels[4], (ChannelSet{ChannelSet::Kind::kQuantile, 2, 5}));
  ASSERT_TRUE(config.heatmaps);
  EXPECT_THAT(config.heatmaps->windows, ElementsAre(5));
  EXPECT_EQ(config.heatmaps->prompts, 8);
  EXPECT_EQ(config.run.device, "cuda:1");
  EXPECT_EQ(config.run.precision, "tf32");
  EXPECT_EQ(config.run.threads_per_rank, 2);
  EXPECT_EQ(config.run.memory_limit, std::int64_t{8} << 30);
}

TEST(Config, FillsInDefaults) {
  const Config config = parse_config(kShort, "short.yaml");
  EXPECT_EQ(config.models.size(), 1U);  // one mapping in place of a list
  EXPECT_EQ(config.dataset, (DatasetConfig{.path = "facts.jsonl"}));
  EXPECT_EQ(config.select, SelectConfig{});
  EXPECT_EQ(config.run, RunConfig{});
  EXPECT_FALSE(config.sweep);
  EXPECT_FALSE(config.heatmaps);
}

TEST(Config, ReadsDatasetFilters) {
  const Config config = parse_config(
      "name: x\ndataset: {path: f, format: known-1000, relations: P30, ids: [3, 1], sample: 5, seed: 7, "
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
    return parse_config(std::string(kShort) + "select: " + select + "\n", "x.yaml").select;
  };
  using Rule = SelectConfig::Rule;
  EXPECT_EQ(select_of("{correct_for: self}").rule, Rule::kSelf);
  EXPECT_EQ(select_of("{correct_for: none}").rule, Rule::kNone);
  EXPECT_EQ(select_of("{correct_for: m}"), (SelectConfig{Rule::kTheseModels, {"m"}, ""}));
  EXPECT_EQ(select_of("{correct_for: [m]}"), (SelectConfig{Rule::kTheseModels, {"m"}, ""}));
  EXPECT_EQ(select_of("{ids: chosen.txt}"), (SelectConfig{Rule::kIds, {}, "chosen.txt"}));
}

TEST(Config, ResolvedCopyReadsBackAsTheSameConfiguration) {
  for (const std::string& text :
       {std::string(kFull), std::string(kShort), std::string(kShort) + "select: {ids: 'odd name: #1'}\n",
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
  for (const char* line : {"correct_for: all", "device: auto", "precision: fp32", "threads_per_rank: auto",
                           "limit: all", "ids: all", "tokenizer: own", "reference_ids: false", "seed: 0"})
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
        "select.correct_for:", "sweep.windows.placement: fit | centred [fit]", "sweep.knockouts[].channels:",
        "heatmaps.windows:", "run.memory_limit: auto, or a size such as 8 GiB [auto]"})
    EXPECT_THAT(help, HasSubstr(key));
}

TEST(Config, ShippedConfigurationsAreValid) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(FACTFLOW_SOURCE_DIR "/configs")) {
    if (entry.path().extension() != ".yaml" || !entry.path().filename().string().starts_with("demo"))
      continue;
    EXPECT_NO_THROW(read_config(entry.path())) << entry.path();
    ++count;
  }
  EXPECT_GE(count, 1);
}

}  // namespace
}  // namespace factflow
