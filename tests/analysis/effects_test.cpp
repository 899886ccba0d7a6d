// Curves, effects, groups, pairs and claims on windows that are small enough to work out by hand.
#include "analysis/effects.hpp"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "analysis/claims.hpp"
#include "analysis/curves.hpp"
#include "analysis/groups.hpp"
#include "analysis/paired.hpp"

namespace factflow {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Four prompts of two relations, p_clean = 0.5, starts 0, 2, 4 of 8 layers.
struct Example {
  ModelData model;
  PromptTable prompts;
  WindowData window;

  explicit Example(const std::vector<std::string>& edges, const std::vector<float>& probability) {
    prompts.id = {10, 11, 12, 13};
    prompts.relation = {"P1", "P1", "P2", "P2"};
    model.info.name = "tiny";
    model.info.family = "mamba";
    model.info.layers = 8;
    model.evaluation.prompt = prompts.id;
    model.evaluation.token_count = {5, 5, 6, 7};
    model.evaluation.subject_begin = {0, 1, 1, 1};
    model.evaluation.subject_end = {1, 3, 3, 3};
    model.axes.edges = edges;
    model.axes.prompts = prompts.id;
    model.axes.blocked.assign(4 * edges.size(), 1);
    for (const std::string& edge : edges) model.edges.push_back(parse_edge(edge));
    model.clean = {0.5, 0.5, 0.5, 0.5};
    model.prompt_row = model.evaluation_row = {0, 1, 2, 3};
    window.model = &model;
    window.cells = {
        3, "fit", {0, 2, 4}, probability, std::vector<std::int32_t>(probability.size(), 1)};
    for (std::size_t edge = 0; edge < edges.size(); ++edge) window.edges.push_back(edge);
  }
};

std::vector<Curve> curves_of(const WindowData& window) {
  const PromptTable prompts{window.model->axes.prompts, {}, {}, {}, {"P1", "P1", "P2", "P2"}, {}};
  return make_curves(window, measure_effects(window, prompts, {}).edges, 0.95);
}

std::vector<float> one_edge() {
  return {0.5F, 0.25F, 0.5F, 0.5F, 0.375F, 0.5F, 0.5F, 0.25F, 0.5F, 0.5F, 0.125F, 0.5F};
}

TEST(Curves, MeansMediansAndDepths) {
  Example example({"subject->last"}, one_edge());
  example.window.cells.rank[1] = 4;
  const Curve curve = curves_of(example.window)[0];
  ASSERT_EQ(curve.points.size(), 3U);
  EXPECT_DOUBLE_EQ(curve.points[1].depth, 0.25);
  EXPECT_EQ(curve.points[1].n, 4U);
  EXPECT_DOUBLE_EQ(curve.points[1].change, -50);
  EXPECT_DOUBLE_EQ(curve.points[1].median_change, -50);
  EXPECT_DOUBLE_EQ(curve.points[1].accuracy, 75);
  EXPECT_DOUBLE_EQ(curve.points[1].mean_rank, 1.75);
  // A t interval would reach 154 %, and have no width where all four prompts are right.
  EXPECT_NEAR(curve.points[1].accuracy_interval.high, 95.44, 0.01);
  EXPECT_NEAR(curve.points[0].accuracy_interval.low, 51.01, 0.01);
  EXPECT_EQ(curve.points[0].accuracy_interval.high, 100);
  EXPECT_NEAR(curve.points[1].log_change, (2 * std::log(0.5) + std::log(0.75) + std::log(0.25)) / 4,
              1e-12);
  EXPECT_EQ(curve.points[0].change_interval.low, 0);  // no variance
}

TEST(Curves, NoEdgeAndFailedCellsAreLeftOutOfEveryMean) {
  Example example({"subject->last"}, one_edge());
  example.model.axes.blocked[0] = 0;               // prompt 10 has no such edge
  example.window.cells.probability[3 + 1] = kNan;  // prompt 11 failed at the second start
  const Curve curve = curves_of(example.window)[0];
  EXPECT_EQ(curve.points[0].n, 3U);
  EXPECT_EQ(curve.points[1].n, 2U);
  EXPECT_DOUBLE_EQ(curve.points[1].change, -62.5);
  EXPECT_EQ(example.window.complete_prompts(0), (std::vector<std::size_t>{2, 3}));
  example.model.axes.blocked.assign(4, 0);
  EXPECT_EQ(curves_of(example.window)[0].points[1].n, 0U);
  EXPECT_TRUE(std::isnan(curves_of(example.window)[0].points[1].change));
}

TEST(Effects, DropDepthAndAreaOfAnEdge) {
  const Example example({"subject->last"}, one_edge());
  const EdgeEffect effect = measure_effects(example.window, example.prompts, {}).edges[0];
  EXPECT_EQ(effect.n, 4U);
  EXPECT_EQ(effect.relations, 2U);
  EXPECT_DOUBLE_EQ(effect.drop.value, -50);
  EXPECT_DOUBLE_EQ(effect.start.value, 2);
  EXPECT_DOUBLE_EQ(effect.depth.value, 0.25);
  EXPECT_DOUBLE_EQ(effect.depth_middle, 3.5 / 8);
  EXPECT_DOUBLE_EQ(effect.area.value, -12.5);
  EXPECT_DOUBLE_EQ(effect.late.value, 0);
  // Every resample is lowest at the same start; the extremes are all 25 % and all 75 %.
  EXPECT_DOUBLE_EQ(effect.start.by_prompt.low, 2);
  EXPECT_GE(effect.drop.by_prompt.low, -75);
  EXPECT_LT(effect.drop.by_prompt.low, -50);
  EXPECT_GT(effect.drop.by_prompt.high, -50);
  // Both relations have the same mean at the start, -37.5 and -62.5: clusters can only give these
  // and the middle.
  EXPECT_DOUBLE_EQ(effect.drop.by_relation.low, -62.5);
  EXPECT_DOUBLE_EQ(effect.drop.by_relation.high, -37.5);
}

TEST(Effects, SameSeedSameIntervalOtherSeedOtherInterval) {
  const Example example({"subject->last"}, {0.5F, 0.25F, 0.4F, 0.5F, 0.3F, 0.5F, 0.5F, 0.21F, 0.5F,
                                            0.5F, 0.1F, 0.45F});
  BootstrapOptions options;
  options.resamples = 200;
  options.level = 0.5;
  const auto low = [&] {
    return measure_effects(example.window, example.prompts, options).edges[0].area.by_prompt.low;
  };
  const double first = low();
  EXPECT_EQ(first, low());
  options.seed = 2;
  EXPECT_NE(first, low());
}

TEST(Effects, AnEdgeWithoutPromptsIsAllNan) {
  Example example({"context->last"}, one_edge());
  example.model.axes.blocked.assign(4, 0);
  const EdgeEffect effect = measure_effects(example.window, example.prompts, {}).edges[0];
  EXPECT_EQ(effect.n, 0U);
  EXPECT_TRUE(std::isnan(effect.drop.value));
  EXPECT_TRUE(std::isnan(effect.depth.by_prompt.low));
}

TEST(Effects, ChannelRatiosUseTheFullEdgesStartAndSharedPrompts) {
  std::vector<float> cells = one_edge();
  // Half of every change.
  for (const float full : one_edge()) cells.push_back(0.5F - 0.5F * (0.5F - full));
  Example example({"subject->last", "subject->last/slow"}, cells);
  const auto ratios = measure_effects(example.window, example.prompts, {}).channels;
  ASSERT_EQ(ratios.size(), 1U);
  EXPECT_EQ(ratios[0].numerator, "slow");
  EXPECT_EQ(ratios[0].start, 2);
  EXPECT_DOUBLE_EQ(ratios[0].at_start.value, 0.5);
  EXPECT_DOUBLE_EQ(ratios[0].area.value, 0.5);
  // The same prompts are drawn for both, so a fixed share has no spread.
  EXPECT_DOUBLE_EQ(ratios[0].at_start.by_prompt.low, 0.5);
  EXPECT_DOUBLE_EQ(ratios[0].at_start.by_prompt.high, 0.5);
  example.window.cells.probability[12] = kNan;  // prompt 10 failed with the slow channels
  EXPECT_EQ(measure_effects(example.window, example.prompts, {}).channels[0].n, 3U);
}

TEST(Groups, RelationsLengthsAndDistances) {
  const Example example({"subject->last"}, one_edge());
  const auto relations = group_effects(example.window, example.prompts, Grouping::kRelation, 0.95);
  ASSERT_EQ(relations.size(), 2U);
  EXPECT_EQ(relations[1].group, "P2");
  EXPECT_DOUBLE_EQ(relations[0].common_change, -37.5);
  EXPECT_DOUBLE_EQ(relations[1].own_change, -62.5);
  const auto lengths =
      group_effects(example.window, example.prompts, Grouping::kSubjectLength, 0.95);
  ASSERT_EQ(lengths.size(), 2U);
  EXPECT_EQ(lengths[0].group, "1");
  EXPECT_EQ(lengths[1].n, 3U);
  const auto distances = group_effects(example.window, example.prompts, Grouping::kDistance, 0.95);
  ASSERT_EQ(distances.size(), 3U);
  EXPECT_EQ(distances[0].group, "2");
  EXPECT_EQ(distances[2].group, "4");
}

TEST(Paired, DifferencesAreTakenPromptByPromptAtEqualDepth) {
  const Example first({"subject->last"}, one_edge());
  Example second({"subject->last"},
                 {0.5F, 0.4F, 0.3F, 0.5F, 0.4F, 0.3F, 0.5F, 0.4F, 0.3F, 0.5F, 0.4F, 0.3F});
  second.model.info.name = "other";
  second.model.info.layers = 16;  // starts at depths 0, 1/8, 1/4
  const auto pairs = paired_differences(first.window, second.window, 0.95);
  ASSERT_EQ(pairs.size(), 2U);  // depth 1/2 lies beyond the second model's last start
  EXPECT_DOUBLE_EQ(pairs[1].depth, 0.25);
  EXPECT_DOUBLE_EQ(pairs[1].first_change, -50);
  EXPECT_NEAR(pairs[1].second_change, -40, 1e-5);
  EXPECT_NEAR(pairs[1].difference, -10, 1e-5);
  EXPECT_EQ(pairs[1].n, 4U);
  second.model.axes.prompts = {1, 2, 3, 4};
  EXPECT_TRUE(paired_differences(first.window, second.window, 0.95).empty());
}

EdgeEffect effect_at(const char* label, const char* family, double middle, double drop) {
  EdgeEffect effect;
  effect.model = family;
  effect.family = family;
  effect.edge = parse_edge(label);
  effect.n = 100;
  effect.layers = 64;
  effect.drop = {drop, {drop - 2, drop + 2}, {}};
  effect.depth = {middle, {middle - 0.02, middle + 0.02}, {}};
  effect.depth_middle = middle;
  effect.late = {5, {1, 9}, {}};
  effect.p_holm = 1e-6;
  return effect;
}

TEST(Claims, HoldFailOrCannotBeToldAsTheDataSay) {
  const auto verdict = [](std::vector<EdgeEffect> effects, std::size_t claim) {
    return judge_claims(effects, {}, {})[claim].verdict;
  };
  EXPECT_EQ(verdict({effect_at("subject->last", "gpt2", 0.7, -60)}, 0), Verdict::kHolds);
  EXPECT_EQ(verdict({effect_at("subject->last", "gpt2", 0.7, -60),
                     effect_at("subject->last", "mamba", 0.2, -60)},
                    0),
            Verdict::kDoesNotHold);
  EXPECT_EQ(verdict({effect_at("subject->last", "gpt2", 0.51, -60)}, 0), Verdict::kCannotTell);
  EdgeEffect weak = effect_at("subject->last", "gpt2", 0.7, -1);
  weak.p_holm = 0.3;
  EXPECT_EQ(verdict({weak}, 0), Verdict::kDoesNotHold);
  EdgeEffect few = effect_at("subject->last", "gpt2", 0.7, -60);
  few.n = 5;
  EXPECT_EQ(verdict({few}, 0), Verdict::kCannotTell);
  EXPECT_EQ(verdict({}, 0), Verdict::kCannotTell);
  EXPECT_EQ(verdict({effect_at("first->last", "gpt2", 0.1, -40),
                     effect_at("first->last", "mamba", 0.1, -3)},
                    2),
            Verdict::kHolds);
  EXPECT_EQ(verdict({effect_at("first->last", "mamba", 0.1, -40)}, 2), Verdict::kDoesNotHold);
  EXPECT_EQ(verdict({effect_at("last->last", "mamba2", 0.1, -40)}, 4),
            Verdict::kCannotTell);  // not about Mamba-2
  EXPECT_EQ(verdict({effect_at("last->last", "falcon_mamba", 0.1, -40)}, 4), Verdict::kHolds);
}

TEST(Edges, LabelsComeApart) {
  EXPECT_EQ(parse_edge("subject->last/quantile 2/5").channels, "quantile 2/5");
  EXPECT_EQ(parse_edge("a->b").display(), "a \u2192 b");
  EXPECT_EQ(parse_edge("a->b/slow").flow(), "a->b");
  EXPECT_EQ(parse_edge("odd").flow(), "odd");
}

TEST(FindingWindow, NineInDeepModelsElseAThirdOfTheDepth) {
  ModelData a, b;
  a.info.layers = 48;
  b.info.layers = 24;
  a.windows = {1, 9, 15};
  b.windows = {1, 9};
  EXPECT_EQ(finding_window({a, b}, {}), 9);
  EXPECT_EQ(finding_window({a, b}, 15), 15);
  EXPECT_EQ(window_of(b, 15), 9);
  b.windows = {1, 5};
  a.windows = {1, 5, 9};
  EXPECT_EQ(finding_window({a, b}, {}), 5);
  b.info.layers = 12;
  b.windows = {1, 3, 5, 9};
  a.windows = {1, 3, 5, 9};
  EXPECT_EQ(finding_window({a, b}, {}), 3);
  a.windows = b.windows = {9};
  EXPECT_EQ(finding_window({a, b}, {}), 9);
  EXPECT_EQ(finding_window({ModelData{}}, {}), 0);
}

}  // namespace
}  // namespace factflow
