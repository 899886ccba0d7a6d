// Computed, failed, missing and not existing are told apart.
#include "analysis/coverage.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace factflow {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

// Two edges of five prompts: computed, without the second edge, failed, and two not computed yet.
CellAxes axes() {
  CellAxes axes;
  axes.items = {"subject->last", "context->last"};
  axes.prompts = {1, 2, 3, 4, 5};
  axes.blocked = {2, 2, kFailedPrompt, kNotKnown, kNotKnown,
                  3, 0, kFailedPrompt, kNotKnown, kNotKnown};
  return axes;
}

ModelData swept() {
  ModelData model;
  model.info.name = "gpt2";
  model.axes = axes();
  model.windows = {3};
  for (const std::string& label : model.axes.items) model.edges.push_back(parse_edge(label));
  model.evaluation.rank = {1, 1, 2, 1, 1, 0};
  return model;
}

TEST(Coverage, CountsEveryPromptOnceAndPairsOnlyOfComputedOnes) {
  const Coverage coverage = coverage_of(axes());
  EXPECT_EQ(coverage.asked, 5U);
  EXPECT_EQ(coverage.computed, 2U);
  EXPECT_EQ(coverage.failed, 1U);
  EXPECT_EQ(coverage.missing, 2U);
  EXPECT_EQ(coverage.pairs, 4U);
  EXPECT_EQ(coverage.absent, 1U);  // a quarter, not seven tenths
}

// A second entry asks for one edge more, of the first two prompts alone.
TEST(Coverage, WhatNobodyAskedForIsNotMissing) {
  CellAxes asked = axes();
  asked.items.push_back("first->last");
  asked.blocked.insert(asked.blocked.end(), {1, kNotKnown, kNotAsked, kNotAsked, kNotAsked});
  for (const size_t cell : {size_t{3}, size_t{8}}) asked.blocked[cell] = 2;
  for (const size_t cell : {size_t{4}, size_t{9}}) asked.blocked[cell] = kNotAsked;
  const Coverage coverage = coverage_of(asked);
  EXPECT_EQ(coverage.asked, 4U);     // nothing of the last one
  EXPECT_EQ(coverage.computed, 2U);  // of the first everything, of the fourth all but the new edge
  EXPECT_EQ(coverage.failed, 1U);
  EXPECT_EQ(coverage.missing, 1U);
  EXPECT_EQ(coverage.pairs, 5U);
  EXPECT_EQ(coverage.absent, 0U);
}

TEST(Coverage, IsSaidInWords) {
  RunData run;
  run.models = {swept()};
  EXPECT_EQ(coverage_in_words(run.models[0], run),
            "right on 4 of 5 prompts (80.0 %), 1 failed; knockouts on 2 of 5 selected prompts, 1 "
            "failed, 2 not computed yet");
  Study study;
  study.run = run;
  const std::vector<std::string> gaps = coverage_gaps(study);
  ASSERT_EQ(gaps.size(), 2U);
  EXPECT_THAT(gaps[0], HasSubstr("gpt2: right on 4"));
  EXPECT_THAT(gaps[1], HasSubstr("25.0 % of the (edge, prompt) pairs that were computed do not"));
}

TEST(Coverage, OfEverythingIsNotWorthAWord) {
  Study study;
  study.run.models = {swept()};
  study.run.models[0].axes.blocked = {1, 2, 3, 4, 5, 1, 2, 3, 4, 5};
  EXPECT_THAT(coverage_gaps(study), IsEmpty());
}

TEST(Coverage, NoPromptSelectedIsToldWithTheModelsAccuracy) {
  Study study;
  study.run.models = {swept()};
  study.run.models[0].axes.blocked.clear();
  study.run.models[0].axes.prompts.clear();
  ASSERT_EQ(coverage_gaps(study).size(), 1U);
  EXPECT_THAT(coverage_gaps(study)[0],
              HasSubstr("gpt2: no prompt is selected; the model is right on 4 of 5 (80.0 %)"));
}

}  // namespace
}  // namespace factflow
