// configs/paper: everything.yaml asks for the union of the other files, and for nothing else; and
// configs/locate.
#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include <gmock/gmock.h>

#include "pipeline/input/config.hpp"
#include "pipeline/input/dataset.hpp"
#include "tests/pipeline/sections.hpp"
#include "tests/source_dir.hpp"

namespace factflow {
namespace {

using ::testing::Contains;
using ::testing::Key;

const std::filesystem::path kFolder = std::filesystem::path(source_dir()) / "configs/paper";

// A set of prompts in words that mean the same in every file.
std::string meaning_of(const Config& config, const SelectConfig& set) {
  std::set<std::string> judges(set.models.begin(), set.models.end());
  if (set.rule == SelectConfig::Rule::kAllModels)
    for (const ModelConfig& model : config.models) judges.insert(model.name);
  std::string meaning = set.rule == SelectConfig::Rule::kSelf ? "self" : set.ids_file;
  for (const std::string& judge : judges) meaning += " " + judge;
  return meaning + " rank " + std::to_string(set.rank);
}

using Cells = std::set<std::string>;

void add_sweeps(const Config& config, const std::string& model, Cells& cells) {
  for (const SweepConfig& sweep : sweeps_in(config)) {
    if (!is_for(sweep, model)) continue;
    const std::string set = meaning_of(config, config.select[prompt_set(config, sweep.select)]);
    for (const KnockoutConfig& knockout : sweep.knockouts)
      for (const TokenRole from : knockout.from)
        for (const TokenRole to : knockout.to)
          for (const ChannelSet& channels : knockout.channels)
            for (const int size : sweep.windows.sizes)
              cells.insert(model + ": " + label_of({from, to, channels}) + " " +
                           std::to_string(size) + " on " + set);
  }
}

void add_heatmaps(const Config& config, const std::string& model, Cells& cells) {
  for (const HeatmapsConfig& heatmaps : heatmaps_in(config)) {
    if (!is_for(heatmaps, model)) continue;
    for (const int size : heatmaps.windows) {
      const std::string map = model + ": map " + std::to_string(size);
      for (const std::int64_t id : heatmaps.ids) cells.insert(map + " of " + std::to_string(id));
      if (heatmaps.ids.empty())
        cells.insert(map + " of the first " + std::to_string(heatmaps.prompts) + " of " +
                     meaning_of(config, config.select[prompt_set(config, heatmaps.select)]));
    }
  }
}

Cells cells_of(const Config& config) {
  Cells cells;
  for (const ModelConfig& model : config.models) {
    cells.insert(model.name + " = " + model.path + " " + model.tokenizer);
    add_sweeps(config, model.name, cells);
    add_heatmaps(config, model.name, cells);
  }
  return cells;
}

std::map<std::string, Config> read_all() {
  std::map<std::string, Config> configs;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder))
    if (entry.path().extension() == ".yaml")
      configs[entry.path().stem()] = read_config(entry.path());
  return configs;
}

TEST(PaperConfigs, EverythingIsTheUnionOfTheOthers) {
  const std::map<std::string, Config> configs = read_all();
  ASSERT_THAT(configs, Contains(Key("everything")));
  EXPECT_EQ(configs.size(), 16U);
  Cells together;
  for (const auto& [name, config] : configs) {
    EXPECT_EQ(config.name, name);
    if (name != "everything") together.merge(cells_of(config));
  }
  const Cells everything = cells_of(configs.at("everything"));
  for (const std::string& cell : together)
    EXPECT_TRUE(everything.contains(cell)) << "everything.yaml lacks " << cell;
  for (const std::string& cell : everything)
    EXPECT_TRUE(together.contains(cell)) << "only everything.yaml has " << cell;
}

TEST(PaperConfigs, ThePublishedSetsAreComplete) {
  const std::vector<std::int64_t> common = read_ids(kFolder / "common_574.txt"),
                                  important = read_ids(kFolder / "important_1090.txt");
  EXPECT_EQ(common.size(), 574U);
  EXPECT_EQ(important.size(), 1090U);
  const std::set<std::int64_t> wider(important.begin(), important.end());
  for (const std::int64_t id : common)
    EXPECT_TRUE(wider.contains(id)) << id;  // right for 17 models, so for 12 of them
  EXPECT_LT(*wider.rbegin(), 21919);
}

TEST(LocateConfigs, AskForSomethingUnderTheirNames) {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(source_dir()) /
                                                               "configs/locate")) {
    if (entry.path().extension() != ".yaml") continue;
    const Config config = read_config(entry.path());
    std::string name = "locate-" + entry.path().stem().string();
    std::replace(name.begin(), name.end(), '_', '-');
    EXPECT_EQ(config.name, name);
    EXPECT_TRUE(config.experiments.any()) << name;
    ++files;
  }
  EXPECT_EQ(files, 10U);
}

}  // namespace
}  // namespace factflow
