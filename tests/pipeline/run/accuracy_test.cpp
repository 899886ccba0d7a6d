// How many prompts models get right, and what each takes out of a set that several decide.
#include "pipeline/run/accuracy.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace factflow {
namespace {

Config config_with(const std::string& select) {
  return parse_config(
      "name: x\ndataset: {path: f}\nmodels: [{name: a, path: p}, {name: b, path: q}, "
      "{name: c, path: r}]\nselect: " +
          select + "\n",
      "x.yaml");
}

// [model][prompt]; 0: failed.
const CleanRanks kRanks = {{1, 1, 2, 1, 6, 1}, {1, 3, 1, 1, 1, 0}, {1, 1, 5, 1, 1, 1}};

TEST(Accuracy, AModelIsRightWhereTheAnswerIsItsLikeliestToken) {
  const ModelAccuracy one = accuracy_of("b", kRanks[1]);
  EXPECT_EQ(describe(one),
            "b: right on 4 of 5 prompts (80.0 %), among the likeliest 5 on 5 (100.0 %); 1 failed");
  EXPECT_EQ(describe(accuracy_of("none", {0})),
            "none: right on 0 of 0 prompts (0.0 %), among the likeliest 5 on 0 (0.0 %); 1 failed");
}

TEST(Accuracy, WhatAModelTakesOutAloneWouldBeThereWithoutIt) {
  const std::vector<SetAccuracy> sets = accuracy_of_sets(config_with("{correct_for: all}"), kRanks);
  ASSERT_EQ(sets.size(), 1U);
  // a: prompts 2 and 4, c: 2 as well; b: 1 and the failed one.
  EXPECT_EQ(
      describe(sets[0]),
      "correct_for: all keeps 2 of 6 prompts: a takes out 2 (1 of them alone), b 2 (2 of them "
      "alone), c 1 (0 of them alone); with rank: 5 it would keep 4");
  const nlohmann::json json = to_json(sets[0]);
  EXPECT_EQ(json["kept"], 2);
  EXPECT_EQ(json["models"][1]["alone"], 2);
}

TEST(Accuracy, OnlySetsThatModelsDecideTogetherAreCounted) {
  EXPECT_THAT(accuracy_of_sets(config_with("{correct_for: self}"), kRanks), ::testing::IsEmpty());
  EXPECT_THAT(accuracy_of_sets(config_with("{correct_for: none}"), kRanks), ::testing::IsEmpty());
  const std::vector<SetAccuracy> sets = accuracy_of_sets(
      config_with("[{name: two, correct_for: [a, c], rank: 5}, {name: own, correct_for: self}]"),
      kRanks);
  ASSERT_EQ(sets.size(), 1U);
  EXPECT_EQ(sets[0].set, "two");
  EXPECT_EQ(
      describe(sets[0]),
      "correct_for: [a, c] with rank: 5 keeps 5 of 6 prompts: a takes out 1 (1 of them alone)");
}

}  // namespace
}  // namespace factflow
