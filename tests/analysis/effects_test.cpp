// Curves, effects, groups, pairs and claims on windows that are small enough to work out by hand.
#include "analysis/effects.hpp"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "analysis/blocked_edges.hpp"
#include "analysis/curves.hpp"
#include "analysis/groups.hpp"
#include "analysis/paired.hpp"

namespace factflow {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Four prompts of two relations, p_clean = 0.5, starts 0, 2, 4 of 8 layers; `copies` of them, each
// of other facts and relations.
struct Example {
  ModelData model;
  PromptTable prompts;
  WindowData window;

  explicit Example(const std::vector<std::string>& edges, const std::vector<float>& probability,
                   std::size_t copies = 1) {
    model.info.name = "tiny";
    model.info.family = "mamba";
    model.info.layers = 8;
    for (std::size_t i = 0; i < 4 * copies; ++i) {
      prompts.id.push_back(10 + static_cast<std::int64_t>(i));
      prompts.relation.push_back("P" + std::to_string(1 + i / 2));
      model.evaluation.token_count.push_back(std::vector<int>{5, 5, 6, 7}[i % 4]);
      model.evaluation.subject_begin.push_back(i % 4 == 0 ? 0 : 1);
      model.evaluation.subject_end.push_back(i % 4 == 0 ? 1 : 3);
      model.clean.push_back(0.5);
      model.prompt_row.push_back(i);
      model.evaluation_row.push_back(i);
      model.fact.push_back(i);
    }
    model.evaluation.prompt = model.axes.prompts = prompts.id;
    model.axes.items = edges;
    model.axes.blocked.assign(4 * copies * edges.size(), 1);
    window.model = &model;
    window.cells = {3, "fit", {0, 2, 4}, {}, {}};
    for (std::size_t edge = 0; edge < edges.size(); ++edge) {
      model.edges.push_back(parse_edge(edges[edge]));
      window.edges.push_back(edge);
      const auto begin = probability.begin() + static_cast<std::ptrdiff_t>(12 * edge);
      for (std::size_t copy = 0; copy < copies; ++copy)
        window.cells.probability.insert(window.cells.probability.end(), begin, begin + 12);
    }
    window.cells.rank.assign(window.cells.probability.size(), 1);
  }
};

std::vector<Curve> curves_of(const WindowData& window) {
  const PromptTable prompts{window.model->axes.prompts,
                            {},
                            {},
                            {},
                            std::vector<std::string>(window.model->fact.size(), "P"),
                            {}};
  return make_curves(window, measure_effects(window, prompts, {}).edges, 0.95);
}

std::vector<float> one_edge() {
  return {0.5F, 0.25F, 0.5F, 0.5F, 0.375F, 0.5F, 0.5F, 0.25F, 0.5F, 0.5F, 0.125F, 0.5F};
}

// Of valid cells alone; files that do not store counts have none.
TEST(Curves, CountEdgesAndRouting) {
  Example example({"subject->last"}, one_edge());
  const CurvePoint unknown = curves_of(example.window)[0].points[0];
  EXPECT_TRUE(std::isnan(unknown.blocked_edges));
  EXPECT_TRUE(std::isnan(unknown.rerouted_layers));
  EXPECT_EQ(unknown.without_edges, 0U);
  EXPECT_EQ(unknown.rerouted, 0U);
  example.window.cells.blocked_edges = {0, 3, 6, 0, 3, 6, 5, 3, 6, -1, -1, -1};
  example.window.cells.rerouted = {2, 0, 0, 0, 0, 0, 1, 0, 0, -1, -1, -1};
  example.window.cells.probability[9] = kNan;
  const Curve curve = curves_of(example.window)[0];
  EXPECT_EQ(curve.points[0].n, 3U);
  EXPECT_DOUBLE_EQ(curve.points[0].blocked_edges, 5.0 / 3);
  EXPECT_EQ(curve.points[0].without_edges, 2U);
  EXPECT_DOUBLE_EQ(curve.points[0].rerouted_layers, 1);
  EXPECT_EQ(curve.points[0].rerouted, 2U);
  Study study;
  study.run.models = {example.model};
  study.run.models[0].windows = {3};
  study.window = 3;
  study.curves = {curve};
  study.curves[0].points.resize(1);
  EXPECT_THAT(
      blocked_edges_in_words(study),
      testing::ElementsAre(
          testing::AllOf(testing::StartsWith("tiny: in some windows of 3 layers no layer has"),
                         testing::HasSubstr("subject \u2192 last (66.7 % of the cells)")),
          testing::StartsWith("tiny: in 66.7 % of the knockouts in windows of 3 layers some "
                              "token goes to other experts than in the clean run, in 1.5 of "
                              "the 8 layers on average")));
  study.curves[0].main_set = false;
  EXPECT_THAT(blocked_edges_in_words(study), testing::IsEmpty());
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
  EXPECT_EQ(curve.points[1].facts, 4U);
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

TEST(Effects, LowestMeanDepthAndAreaOfAnEdge) {
  const Example example({"subject->last"}, one_edge(), 5);
  const EdgeEffect effect = measure_effects(example.window, example.prompts, {}).edges[0];
  EXPECT_EQ(effect.n, 20U);
  EXPECT_EQ(effect.facts, 20U);
  EXPECT_EQ(effect.relations, 10U);
  EXPECT_DOUBLE_EQ(effect.lowest.value, -50);
  EXPECT_DOUBLE_EQ(effect.start.value, 2);
  EXPECT_DOUBLE_EQ(effect.depth.value, 0.25);
  EXPECT_DOUBLE_EQ(effect.depth_middle, 3.5 / 8);
  EXPECT_DOUBLE_EQ(effect.at_lowest.median, -50);
  EXPECT_NEAR(effect.at_lowest.log, (2 * std::log(0.5) + std::log(0.75) + std::log(0.25)) / 4,
              1e-12);
  EXPECT_DOUBLE_EQ(effect.area.value, -12.5);
  EXPECT_DOUBLE_EQ(effect.late.value, 0);
  // Every resample is lowest at the same start; the extremes are all 25 % and all 75 %.
  EXPECT_DOUBLE_EQ(effect.start.by_fact.low, 2);
  EXPECT_GT(effect.lowest.by_fact.low, -75);
  EXPECT_LT(effect.lowest.by_fact.low, -50);
  EXPECT_GT(effect.lowest.by_fact.high, -50);
  // The relations' means are -37.5 and -62.5.
  EXPECT_GT(effect.lowest.by_relation.low, -62.5);
  EXPECT_LT(effect.lowest.by_relation.low, -50);
}

TEST(Effects, BelowTenFactsOrRelationsThereIsNoClusterInterval) {
  Example example({"subject->last"}, one_edge(), 3);  // 12 facts of 6 relations
  const auto effect = [&] { return measure_effects(example.window, example.prompts, {}).edges[0]; };
  EXPECT_FALSE(std::isnan(effect().lowest.by_fact.low));
  EXPECT_TRUE(std::isnan(effect().lowest.by_relation.low));
  EXPECT_EQ(effect().relations, 6U);
  for (std::size_t i = 0; i < 12; ++i) example.model.fact[i] = i / 2;  // two phrasings each
  EXPECT_EQ(effect().facts, 6U);
  EXPECT_EQ(effect().n, 12U);
  EXPECT_TRUE(std::isnan(effect().lowest.by_fact.low));
  EXPECT_TRUE(std::isnan(effect().depth.by_fact.high));
  EXPECT_TRUE(std::isnan(effect().starts[0].by_fact.low));
}

TEST(Effects, PhrasingsOfAFactAreOneObservation) {
  Example apart({"subject->last"}, one_edge(), 12), together({"subject->last"}, one_edge(), 12);
  // Prompts of equal change: the same fact in four phrasings.
  for (std::size_t i = 0; i < 48; ++i) together.model.fact[i] = i % 4 + 4 * (i / 16);
  const EdgeEffect a = measure_effects(apart.window, apart.prompts, {}).edges[0],
                   b = measure_effects(together.window, together.prompts, {}).edges[0];
  EXPECT_EQ(b.facts, 12U);
  EXPECT_EQ(a.lowest.value, b.lowest.value);
  const auto width = [](const Interval& interval) { return interval.high - interval.low; };
  EXPECT_GT(width(b.lowest.by_fact), 1.6 * width(a.lowest.by_fact));
  EXPECT_GT(b.p_value, 100 * a.p_value);
}

TEST(Effects, HolmIsOverEveryStartOfTheTable) {
  Example example({"subject->last"}, one_edge(), 3);
  std::vector<EdgeEffect> effects(7, measure_effects(example.window, example.prompts, {}).edges[0]);
  std::vector<EdgeEffect*> family;
  for (EdgeEffect& effect : effects) family.push_back(&effect);
  correct_together(family);
  EXPECT_EQ(effects[3].tests, 21U);
  // Seven equal smallest p values among 21 tests; the others are 1.
  EXPECT_NEAR(effects[3].p_holm, 21 * effects[3].p_value, 1e-15);
  correct_together({&effects[0]});
  EXPECT_NEAR(effects[0].p_holm, 3 * effects[0].p_value, 1e-15);
}

// One prompt of p_clean 1e-6 in twenty makes the mean; median and log change know better.
TEST(Effects, AMeanThatFewPromptsCarryIsNoticed) {
  Example example({"subject->last"}, one_edge(), 5);
  EXPECT_FALSE(carried_by_few(measure_effects(example.window, example.prompts, {}).edges[0]));
  example.model.clean[0] = 1e-6;
  const EdgeEffect effect = measure_effects(example.window, example.prompts, {}).edges[0];
  EXPECT_EQ(effect.half_carried_by, 1U);
  EXPECT_TRUE(carried_by_few(effect));
  EXPECT_GT(effect.lowest.value, 1e5);
  EXPECT_DOUBLE_EQ(effect.at_lowest.median, -50);
  EXPECT_FALSE(is_drop(effect));
  const CurvePoint point = curves_of(example.window)[0].points[1];
  EXPECT_EQ(point.half_carried_by, 1U);
  EXPECT_LT(point.log_change, 0.1);
}

TEST(Effects, SameSeedSameIntervalOtherSeedOtherInterval) {
  const Example example({"subject->last"},
                        {0.5F, 0.25F, 0.4F, 0.5F, 0.3F, 0.5F, 0.5F, 0.21F, 0.5F, 0.5F, 0.1F, 0.45F},
                        4);
  BootstrapOptions options;
  options.resamples = 200;
  options.level = 0.5;
  const auto low = [&] {
    return measure_effects(example.window, example.prompts, options).edges[0].area.by_fact.low;
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
  EXPECT_EQ(effect.missing, "no prompt has this edge");
  EXPECT_TRUE(std::isnan(effect.lowest.value));
  EXPECT_TRUE(std::isnan(effect.depth.by_fact.low));
  example.model.axes.blocked.assign(4, kNotKnown);
  EXPECT_EQ(measure_effects(example.window, example.prompts, {}).edges[0].missing,
            "not computed yet");
}

TEST(Effects, ChannelRatiosUseTheFullEdgesStartAndSharedPrompts) {
  std::vector<float> cells = one_edge();
  // Half of every change.
  for (const float full : one_edge()) cells.push_back(0.5F - 0.5F * (0.5F - full));
  Example example({"subject->last", "subject->last/slow"}, cells, 3);
  const auto ratios = measure_effects(example.window, example.prompts, {}).channels;
  ASSERT_EQ(ratios.size(), 1U);
  EXPECT_EQ(ratios[0].numerator, "slow");
  EXPECT_EQ(ratios[0].start, 2);
  EXPECT_DOUBLE_EQ(ratios[0].at_start.value, 0.5);
  EXPECT_DOUBLE_EQ(ratios[0].area.value, 0.5);
  EXPECT_DOUBLE_EQ(ratios[0].median, 0.5);
  EXPECT_LT(ratios[0].log, 0.5);  // half of a drop is less than half of its logarithm
  // The same facts are drawn for both, so a fixed share has no spread.
  EXPECT_DOUBLE_EQ(ratios[0].at_start.by_fact.low, 0.5);
  EXPECT_DOUBLE_EQ(ratios[0].at_start.by_fact.high, 0.5);
  example.window.cells.probability[36] = kNan;  // prompt 10 failed with the slow channels
  EXPECT_EQ(measure_effects(example.window, example.prompts, {}).channels[0].n, 11U);
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
  EXPECT_NEAR(pairs[1].median, -10, 1e-5);
  EXPECT_NEAR(pairs[1].log,
              (2 * std::log(0.5) + std::log(0.75) + std::log(0.25)) / 4 - std::log(0.6), 1e-6);
  second.model.axes.prompts = {1, 2, 3, 4};
  EXPECT_TRUE(paired_differences(first.window, second.window, 0.95).empty());
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
  const auto window_for = [&](std::optional<std::int64_t> wanted) {
    RunData run;
    run.models = {a, b};
    return finding_window(run, wanted);
  };
  EXPECT_EQ(window_for({}), 9);
  EXPECT_EQ(window_for(15), 15);
  EXPECT_EQ(window_of(b, 15), 9);
  b.windows = {1, 5};
  a.windows = {1, 5, 9};
  EXPECT_EQ(window_for({}), 5);
  b.info.layers = 12;
  b.windows = {1, 3, 5, 9};
  a.windows = {1, 3, 5, 9};
  EXPECT_EQ(window_for({}), 3);
  a.windows = b.windows = {9};
  EXPECT_EQ(window_for({}), 9);
  a = b = ModelData{};
  EXPECT_EQ(window_for({}), 0);
}

}  // namespace
}  // namespace factflow
