// What a run and `factflow status` say of each model.
#include "pipeline/run/model_progress.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace factflow {
namespace {

constexpr std::size_t kEvaluate = 0, kSweep = 1, kMaps = 2;  // in experiment_kinds()

// Of these three kinds; of the others nothing is asked.
AskedOfModel asked(const std::string& name, std::vector<std::optional<AskedCount>> counts) {
  counts.resize(experiment_kinds().size(), AskedCount{0, 0, false});
  return {name, std::move(counts)};
}

ModelProgress stopped() {
  ModelProgress model;
  model.asked = asked("gpt2", {AskedCount{200, 0}, AskedCount{198, 7}, AskedCount{8, 9}});
  model.of_kind[kEvaluate].computed = 200;
  model.right = 198;
  return model;
}

TEST(ModelProgress, WhatIsSelectedIsNotWhatIsSwept) {
  ModelProgress model = stopped();
  EXPECT_EQ(describe(model),
            "gpt2: 200 of 200 prompts evaluated, right on 198 (99.0 %); 0 of 198 selected prompts "
            "swept, 198 missing; heat maps of 0 of 8 prompts drawn, 8 missing");
  model.of_kind[kSweep] = {120, 3};
  model.of_kind[kMaps].computed = 8;
  EXPECT_EQ(
      describe(model),
      "gpt2: 200 of 200 prompts evaluated, right on 198 (99.0 %); 120 of 198 selected prompts "
      "swept, 3 failed, 75 missing; heat maps of 8 of 8 prompts drawn");
}

TEST(ModelProgress, BeforeTheSelectionNothingIsSaidOfIt) {
  ModelProgress model = stopped();
  model.asked.of_kind[kSweep] = model.asked.of_kind[kMaps] = std::nullopt;
  model.of_kind[kEvaluate].computed = 64;
  model.right = 16;
  EXPECT_EQ(describe(model),
            "gpt2: 64 of 200 prompts evaluated, 136 missing, right on 16 (25.0 %); which ones are "
            "selected is not known yet");
  model.asked.of_kind[kEvaluate] =
      std::nullopt;  // the run was killed before it said how many there are
  EXPECT_THAT(describe(model), ::testing::StartsWith("gpt2: 64 prompts evaluated, right on 16"));
}

TEST(ModelProgress, NoPromptIsNotNoneOfZero) {
  ModelProgress model = stopped();
  model.asked.of_kind[kSweep] = model.asked.of_kind[kMaps] = AskedCount{0, 1};
  model.right = 0;
  EXPECT_EQ(describe(model),
            "gpt2: 200 of 200 prompts evaluated, right on 0 (0.0 %); no prompt to sweep");
}

TEST(ModelProgress, WhatIsAskedSurvivesItsFile) {
  const std::vector<AskedOfModel> models = {stopped().asked,
                                            asked("mamba", {AskedCount{64, 0}, {}, {}})};
  const std::vector<AskedOfModel> read =
      asked_from_json(nlohmann::json::parse(to_json(models).dump()));
  ASSERT_EQ(read.size(), 2U);
  EXPECT_EQ(read[0].name, "gpt2");
  EXPECT_EQ(read[0].of_kind[kSweep]->prompts, 198U);
  EXPECT_EQ(read[0].of_kind[kMaps]->selection, 9U);
  EXPECT_EQ(read[1].of_kind[kEvaluate]->prompts, 64U);
  EXPECT_FALSE(read[1].of_kind[kSweep].has_value());
  EXPECT_THROW(asked_from_json(nlohmann::json::parse(R"([{"name": "x"}])")),
               nlohmann::json::exception);
}

}  // namespace
}  // namespace factflow
