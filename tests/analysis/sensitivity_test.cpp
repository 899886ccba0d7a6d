// Smallest against largest model of a family, by hand.
#include "analysis/sensitivity.hpp"

#include <gtest/gtest.h>

#include "analysis/claims.hpp"

namespace factflow {
namespace {

// One prompt per value: p_clean = 0.5, two starts, of which the second changes nothing.
struct Example {
  ModelData model;
  WindowData window;

  Example(const std::string& name, std::int64_t parameters,
          const std::vector<float>& probabilities) {
    model.info.name = name;
    model.info.family = "mamba";
    model.info.layers = 4;
    model.info.parameters = parameters;
    model.axes.items = {"subject->last"};
    model.edges = {parse_edge("subject->last")};
    window.cells = {1, "fit", {0, 1}, {}, {}};
    for (const float p : probabilities) {
      model.axes.prompts.push_back(static_cast<std::int64_t>(model.axes.prompts.size()));
      model.axes.blocked.push_back(1);
      model.fact.push_back(model.fact.size());
      model.clean.push_back(0.5);
      window.cells.probability.insert(window.cells.probability.end(), {p, 0.5F});
    }
    window.model = &model;
    window.edges = {0};
  }
};

TEST(Sensitivity, IsTheMeanSizeOfTheChangeAndPairedByPrompt) {
  Example small("small", 100, {0.25F, 1.0F, 0.75F}), large("large", 1000, {0.5F, 0.5F, 0.75F});
  const auto pairs = compare_sizes({large.window, small.window}, 0.95);
  ASSERT_EQ(pairs.size(), 1U);
  EXPECT_EQ(pairs[0].smaller, "small");
  EXPECT_EQ(pairs[0].larger, "large");
  EXPECT_EQ(pairs[0].n, 3U);
  // Of the first start 50, 100 and 50 %, of the second 0.
  EXPECT_DOUBLE_EQ(pairs[0].smaller_value, 100.0 / 3);
  EXPECT_DOUBLE_EQ(pairs[0].larger_value, 25.0 / 3);
  EXPECT_DOUBLE_EQ(pairs[0].difference, 25);
  EXPECT_DOUBLE_EQ(pairs[0].size_ratio, 10);
  EXPECT_EQ(pairs[0].facts, 3U);
}

TEST(Sensitivity, OneHugeChangeCountsAsAHundredPercent) {
  Example small("small", 100, {0.5F}), large("large", 1000, {0.5F});
  small.model.clean[0] = 1e-6;
  EXPECT_DOUBLE_EQ(compare_sizes({small.window, large.window}, 0.95)[0].smaller_value, 100);
}

TEST(Sensitivity, ModelsOfOneSizeOrWithoutCommonPromptsAreNotCompared) {
  Example one("one", 100, {0.25F}), same("same", 100, {0.5F}), other("other", 1000, {0.5F});
  EXPECT_TRUE(compare_sizes({one.window, same.window}, 0.95).empty());
  other.model.axes.prompts[0] = 77;
  EXPECT_TRUE(compare_sizes({one.window, other.window}, 0.95).empty());
}

TEST(Claims, SmallModelsAreOversensitiveIfTheDifferenceIsAboveZero) {
  const auto claim = [](double low, double high, std::size_t facts, double ratio) {
    SensitivityPair pair;
    pair.interval = {low, high};
    pair.n = pair.facts = facts;
    pair.size_ratio = ratio;
    return judge_claims({}, {}, {pair}).back();
  };
  const auto verdict = [&](double low, double high, std::size_t facts) {
    return claim(low, high, facts, 10).verdict;
  };
  EXPECT_EQ(verdict(1, 3, 50), Verdict::kHolds);
  EXPECT_EQ(verdict(-3, -1, 50), Verdict::kDoesNotHold);
  EXPECT_EQ(verdict(-1, 1, 50), Verdict::kCannotTell);
  EXPECT_EQ(verdict(1, 3, 5), Verdict::kCannotTell);
  EXPECT_EQ(judge_claims({}, {}, {}).back().verdict, Verdict::kCannotTell);
  // Models of 2,198,656 and 2,198,784 parameters are no small one and no large one.
  const Claim alike = claim(1, 3, 50, 2198784.0 / 2198656.0);
  EXPECT_EQ(alike.verdict, Verdict::kCannotTell);
  EXPECT_EQ(alike.models[0].reason, "the larger has only 1 times the parameters, asked are 2");
}

}  // namespace
}  // namespace factflow
