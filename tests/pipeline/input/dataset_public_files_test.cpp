// The public datasets, where they lie beside the checkout (they are not ours to pass on).
#include <chrono>
#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "pipeline/input/dataset.hpp"
#include "pipeline/input/numpy_permutation.hpp"
#include "tests/expect_input_error.hpp"
#include "tests/source_dir.hpp"

namespace factflow {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const std::filesystem::path kData = source_dir() + "/../shared/data";

#define SKIP_WITHOUT(file) \
  if (!std::filesystem::exists(kData / (file))) GTEST_SKIP() << (kData / (file)) << " is not here"

Dataset read(const std::filesystem::path& path) {
  return read_dataset({.path = path.string()});
}

TEST(PublicFiles, CounterfactReadsWhole) {
  SKIP_WITHOUT("counterfact.jsonl");
  const auto begin = std::chrono::steady_clock::now();
  const Dataset dataset = read(kData / "counterfact.jsonl");
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  RecordProperty("milliseconds", static_cast<int>(seconds.count() * 1e3));
  EXPECT_EQ(dataset.format, "counterfact-flat, JSON lines");
  EXPECT_EQ(dataset.prompts.size(), 21919U);
  EXPECT_THAT(dataset.bad, IsEmpty());
  EXPECT_EQ(dataset.prompts[0].text, "The mother tongue of Danielle Darrieux is");
  EXPECT_EQ(dataset.prompts[0].subject_begin, 21);
  EXPECT_EQ(dataset.prompts[0].answer, " French");
}

TEST(PublicFiles, ReferenceNumbersAreThoseOfTheReferenceCode) {
  SKIP_WITHOUT("reference_values.json");
  const auto values = nlohmann::json::parse(std::ifstream(kData / "reference_values.json"));
  const auto table = values["extras"]["original_idx_to_case_id"].get<std::vector<std::int64_t>>();
  EXPECT_EQ(numpy_permutation(42, 21919), table);

  const Dataset dataset = read_dataset({.path = (kData / "counterfact.jsonl").string(),
                                        .ids = {5564, 9910, 13740},
                                        .reference_ids = true});
  EXPECT_THAT(dataset.reference_ids, ElementsAre(53, 59, 10594));
  for (const auto& row : values["models"]["gpt2-355M"]["prompts"]) {
    const Dataset one = read_dataset({.path = (kData / "counterfact.jsonl").string(),
                                      .ids = {row["case_id"].get<std::int64_t>()},
                                      .reference_ids = true});
    EXPECT_EQ(one.prompts.at(0).text, row["prompt"].get<std::string>());
    EXPECT_EQ(one.prompts.at(0).answer, row["target_true"].get<std::string>());
    EXPECT_EQ(one.reference_ids.at(0), row["original_idx"].get<std::int64_t>());
  }
}

TEST(PublicFiles, Known1000ReadsWhole) {
  SKIP_WITHOUT("known_1000.json");
  const Dataset dataset = read(kData / "known_1000.json");
  EXPECT_EQ(dataset.format, "known-1000, JSON array");
  EXPECT_EQ(dataset.prompts.size(), 1209U);
  EXPECT_THAT(dataset.bad, IsEmpty());
}

TEST(PublicFiles, EachRelationsFileReadsWhole) {
  SKIP_WITHOUT("relations");
  size_t prompts = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kData / "relations")) {
    const Dataset dataset = read(entry.path());
    EXPECT_EQ(dataset.format, "relations, JSON object") << entry.path();
    EXPECT_THAT(dataset.bad, IsEmpty()) << entry.path();
    prompts += dataset.prompts.size();
  }
  const Dataset together = read(kData / "relations");
  EXPECT_EQ(together.prompts.size(), prompts);
  EXPECT_EQ(prompts, 9696U);
}

}  // namespace
}  // namespace factflow
