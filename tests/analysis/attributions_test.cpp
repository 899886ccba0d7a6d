// Gradient estimates in the analysis: agreement by hand, facts that are left out, claims, figures,
// tables, findings and the section of the report, comparisons, and damage.
#include "analysis/attributions.hpp"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "analysis/analyse.hpp"
#include "analysis/attribution_claims.hpp"
#include "analysis/attribution_report.hpp"
#include "analysis/figures.hpp"
#include "analysis/findings.hpp"
#include "analysis/load_runs.hpp"
#include "analysis/rank_correlation.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "tests/analysis/study_test.hpp"

namespace factflow {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(RankCorrelation, IsThatOfRanks) {
  const std::vector<std::size_t> each = {0, 1, 2, 3, 4};
  EXPECT_DOUBLE_EQ(RankCorrelation({1, 2, 3, 4, 5}, {2, 4, 8, 16, 32}, each).value(), 1);
  EXPECT_DOUBLE_EQ(RankCorrelation({1, 2, 3, 4, 5}, {5, 4, 3, 2, 1}, each).value(), -1);
  // 1 - 6 (1 + 1 + 0 + 1 + 1) / (5 * 24)
  EXPECT_DOUBLE_EQ(RankCorrelation({1, 2, 3, 4, 5}, {20, 10, 30, 50, 40}, each).value(), 0.8);
  // Ranks 1.5 1.5 3 against 1 2 3.
  EXPECT_DOUBLE_EQ(RankCorrelation({7, 7, 9}, {1, 2, 3}, {0, 1, 2}).value(),
                   1.5 / std::sqrt(1.5 * 2));
  EXPECT_TRUE(std::isnan(RankCorrelation({7, 7, 7}, {1, 2, 3}, {0, 1, 2}).value()));
  EXPECT_TRUE(std::isnan(RankCorrelation({7}, {1}, {0}).value()));
  EXPECT_TRUE(std::isnan(RankCorrelation({}, {}, {}).value()));
}

// A resample is the correlation of the pairs as often as they are drawn.
TEST(RankCorrelation, OfAResampleIsThatOfItsPairs) {
  const std::vector<double> x = {3, 1, 4, 1, 5, 9, 2, 6}, y = {2, 7, 1, 8, 2, 8, 1, 8};
  const std::vector<std::size_t> cluster = {0, 0, 1, 2, 2, 2, 3, 3};
  const RankCorrelation ranks(x, y, cluster);
  const std::vector<std::uint16_t> counts = {2, 0, 1, 3};
  std::vector<double> many_x, many_y;
  std::vector<std::size_t> many;
  for (std::size_t i = 0; i < x.size(); ++i)
    for (int time = 0; time < counts[cluster[i]]; ++time) {
      many_x.push_back(x[i]);
      many_y.push_back(y[i]);
      many.push_back(0);
    }
  EXPECT_NEAR(ranks.resampled(counts.data()), RankCorrelation(many_x, many_y, many).value(), 1e-14);
  const std::vector<std::uint16_t> once(4, 1), none(4, 0);
  EXPECT_DOUBLE_EQ(ranks.resampled(once.data()), ranks.value());
  EXPECT_TRUE(std::isnan(ranks.resampled(none.data())));
}

class Attributions : public StudyTest {
 protected:
  void write(const TracedFacts& facts, const AttributedEffects& effects) const {
    PromptTable prompts;
    prompts.id = {1, 2, 3, 4};
    prompts.text = {"a", "b", "c", "d"};
    prompts.subject = {"one", "one", "three", "four"};
    prompts.answer = prompts.relation = std::vector<std::string>(4, "x");
    ResultsWriter writer(folder_ / "results.h5", RunInfo{}, prompts);
    writer.begin_model({"tiny", "mamba", "", 2, 8, 100, 1000, "", ""});
    for (const ArrayGroup& group : arrays_of(facts, effects)) writer.write(group);
    writer.publish({});
  }
  // The third's other subject is nearly as good; the fourth failed.
  static TracedFacts facts() {
    return {{1, 2, 3, 4},
            {"a", "b", "c", ""},
            {0.75F, 0.75F, 0.5F, kNan},
            {0.25F, 0.25F, 0.46875F, kNan},
            {1, 1, 1, -1},
            {2, 2, 2, -1},
            {3, 3, 3, 0}};
  }
  // Site o in two layers, three tokens of which the first stands before the subject. As shares of
  // high - low = 0.5: layer 0 exact 0.5 and 0.25, then -0.25 and 0.004; layer 1 nothing but one.
  static AttributedEffects effects() {
    AttributedEffects e;
    e.sites = {"o"};
    e.prompts = {1, 2, 3, 4};
    e.tokens = 3;
    e.layers = 2;
    e.steps = 5;
    const auto map = [](float a, float b, float c) {  // [token, layer]
      return std::vector<float>{0, 0, kNan, a, 0, kNan, b, c, kNan};
    };
    const std::vector<float> none(9, kNan);
    const auto all = [&](std::vector<float> first, const std::vector<float>& second) {
      std::vector<float> values = std::move(first);
      const std::vector<float> third = map(9, 9, 9);
      for (const auto* more : {&second, &third, &none})
        values.insert(values.end(), more->begin(), more->end());
      return values;
    };
    e.exact = all(map(0.25F, 0.125F, 0.5F), map(-0.125F, 0.002F, 0.5F));
    e.gradient = all(map(0.5F, 0.125F, 0.25F), map(-0.25F, -0.001F, 0.25F));
    return e;
  }
  static SyntheticOptions small() {
    SyntheticOptions options = two_models(36);
    options.knockouts = false;
    options.attributed = 30;
    return options;
  }
};

TEST_F(Attributions, AgreementIsThatByHand) {
  write(facts(), effects());
  const Study studied = study();
  ASSERT_EQ(studied.attributions.size(), 1U);
  const ModelAttributions& model = studied.attributions[0];
  ASSERT_EQ(model.sites.size(), 1U);  // there are no integrated gradients
  const SiteAgreement& of = model.sites[0];
  ASSERT_EQ(of.layers.size(), 2U);  // o has no layer behind the last
  const Agreement& first = of.layers[0];
  EXPECT_EQ(first.cells, 4U);
  EXPECT_EQ(first.prompts, 2U);
  EXPECT_EQ(first.facts, 1U);
  // Exact 0.5 0.25 -0.25 0.004, estimates 1 0.25 -0.5 -0.002: the same order.
  EXPECT_DOUBLE_EQ(first.correlation.value, 1);
  EXPECT_TRUE(std::isnan(first.correlation.interval.low));
  EXPECT_EQ(first.signed_cells, 3U);  // 0.004 has none
  EXPECT_DOUBLE_EQ(first.same_sign.value, 1);
  EXPECT_THAT(first.difference.value, DoubleNear((0.5 + 0 + 0.25 + 0.006) / 4, 1e-8));
  ASSERT_TRUE(first.worst.has_value());
  EXPECT_EQ(first.worst->prompt, 1);
  EXPECT_EQ(first.worst->token, 1);
  EXPECT_DOUBLE_EQ(first.worst->exact, 0.5);
  EXPECT_DOUBLE_EQ(first.worst->estimate, 1);
  // In layer 1 the subject's token is 0 both ways: not counted.
  EXPECT_EQ(of.layers[1].cells, 2U);
  EXPECT_TRUE(std::isnan(of.layers[1].correlation.value));  // all are equal
  EXPECT_EQ(of.all.cells, 6U);
  EXPECT_EQ(trusted_in_words(of), "none");
}

TEST_F(Attributions, FactsThatAreLeftOutAreCounted) {
  write(facts(), effects());
  EXPECT_THAT(attribution_counts(study()),
              ElementsAre("tiny: gradient estimates of 2 of 4 prompts; left out: 1 without a "
                          "value, 1 with high - low < 0.05."));
  EXPECT_THAT(gaps(study()), Contains(HasSubstr("tiny: gradient estimates of 2 of 4")));
  StudyOptions options;
  options.p_clean = {0.6, 1};
  EXPECT_THAT(gaps(study(options)), Contains(HasSubstr("tiny 2 of 3 with gradient estimates")));
  options.p_clean = {0.76, 1};
  EXPECT_THROW(study(options), InputError);
}

TEST_F(Attributions, WithoutAnyFactNothingIsDrawn) {
  TracedFacts failed = facts();
  failed.high = failed.low = std::vector<float>(4, kNan);
  write(failed, effects());
  const FigureSet figures = make_figures(study(), {});
  EXPECT_THAT(figures.figures, IsEmpty());
  EXPECT_THAT(figures.omitted, Contains(HasSubstr("attribution_tiny is not drawn")));
  bool found = false;
  for (const Claim& claim : study().claims)
    if (claim.text.starts_with("One gradient ranks")) {
      ASSERT_EQ(claim.models.size(), 1U);
      EXPECT_THAT(claim.models[0].reason, HasSubstr("asked are 10 facts"));
      found = true;
    }
  EXPECT_TRUE(found);
}

// A model whose estimates are as they are asked to be.
ModelAttributions judged_model(double stream, double block, double integrated) {
  ModelAttributions model;
  model.model = "one";
  model.layers = 2;
  model.steps = 5;
  const auto add = [&](const char* site, EstimateMethod method, double correlation) {
    SiteAgreement& of = model.sites.emplace_back();
    of.site = site;
    of.method = method;
    of.all.prompts = of.all.facts = 20;
    of.all.correlation = {correlation, {correlation - 0.01, correlation + 0.01}};
    of.all.same_sign = {0.95, {0.93, 0.97}};
    for (int i = 0; i < 40; ++i) of.replicates.push_back(correlation + 0.0001 * i);
    of.layers.resize(2);
    of.layers[1] = of.all;
  };
  add("h", EstimateMethod::kGradient, stream);
  add("o", EstimateMethod::kGradient, block);
  add("h", EstimateMethod::kIntegrated, integrated);
  add("o", EstimateMethod::kIntegrated, integrated);
  return model;
}

TEST(AttributionClaims, AreJudgedByTheIntervals) {
  const auto verdicts = [](double stream, double block, double integrated) {
    std::vector<Verdict> found;
    for (const Claim& claim :
         judge_attribution_claims({judged_model(stream, block, integrated)}, {}))
      found.push_back(claim.verdict);
    return found;
  };
  using enum Verdict;
  EXPECT_THAT(verdicts(0.85, 0.9, 0.95), ElementsAre(kHolds, kHolds, kHolds));
  EXPECT_THAT(verdicts(0.5, 0.9, 0.7), ElementsAre(kPartly, kHolds, kPartly));
  EXPECT_THAT(verdicts(0.7, 0.6, 0.5), ElementsAre(kDoesNotHold, kDoesNotHold, kDoesNotHold));
  EXPECT_THAT(verdicts(0.8, 0.8, 0.8), ElementsAre(kCannotTell, kCannotTell, kCannotTell));
  EXPECT_THAT(judge_attribution_claims({}, {}), IsEmpty());
  ModelAttributions few = judged_model(0.85, 0.9, 0.95);
  for (SiteAgreement& of : few.sites) of.all.facts = 9;
  for (const Claim& claim : judge_attribution_claims({few}, {}))
    EXPECT_EQ(claim.verdict, kCannotTell);
  const std::string evidence =
      judge_attribution_claims({judged_model(0.85, 0.9, 0.95)}, {})[0].models[0].evidence;
  EXPECT_THAT(evidence, AllOf(HasSubstr("h: rank correlation 0.85"), HasSubstr("trusted layers 0;"),
                              HasSubstr("trusted layers 1")));
  ModelAttributions again = judged_model(0.85, 0.9, 0.95);
  again.repeated = true;
  EXPECT_THAT(judge_attribution_claims({again}, {})[0].models, IsEmpty());
}

TEST_F(Attributions, HaveFiguresTablesClaimsAndASection) {
  if (std::system("gnuplot --version > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "gnuplot is not installed";
  const auto folder = run("all", small());
  const AnalysisSummary summary = analyse(folder, quick());
  EXPECT_EQ(summary.problem, "");
  for (const char* stem : {"attribution_gpt2", "attribution_mamba"})
    for (const char* ending : {".svg", ".pdf", ".png", "_column.pdf"})
      EXPECT_TRUE(std::filesystem::exists(folder / "figures" / (std::string(stem) + ending)))
          << stem << ending;
  EXPECT_THAT(text("all/figures/attribution_mamba.svg"),
              AllOf(HasSubstr("integrated gradients, 5 steps"), HasSubstr("Rank correlation"),
                    HasSubstr("Share of equal signs")));
  EXPECT_THAT(
      text("all/tables/attributions.csv"),
      AllOf(testing::StartsWith("model,family,layers,site,method,steps,layer,published_layer,"),
            HasSubstr("mamba,mamba,12,h,gradient,0,12,11,"),
            HasSubstr("gpt2,gpt2,8,mlp,integrated,5,all,all,"),
            Not(HasSubstr("o,gradient,0,12,"))));
  EXPECT_THAT(text("all/tables/attribution_facts.csv"), HasSubstr(",0,with high - low < 0.05"));
  EXPECT_THAT(text("all/tables/claims.csv"),
              HasSubstr("The gradient's estimates are worse for the residual stream"));
  EXPECT_THAT(summary.findings,
              AllOf(HasSubstr("Gradient estimates of causal traces against the exact effects"),
                    HasSubstr("o, integrated gradients, 5 steps")));
  const std::string page = text("all/report.html");
  for (const char* words :
       {"<section id=\"attributions\">", "<a href=\"#attributions\">", "tables/attributions.csv",
        "figures/attribution_mamba.pdf", "<polyline", "<polygon", "Trusted layers"})
    EXPECT_THAT(page, HasSubstr(words));
}

// The estimates of the stream are made worse, and the claims must see it.
TEST_F(Attributions, OfTheStreamAreFoundToBeWorse) {
  write_synthetic_results(folder_ / "results.h5", small());
  const Study studied = study();
  for (const ModelAttributions& model : studied.attributions) {
    const SiteAgreement *stream = model.of(EstimateMethod::kGradient, "h"),
                        *block = model.of(EstimateMethod::kGradient, "o");
    ASSERT_TRUE(stream != nullptr && block != nullptr);
    EXPECT_LT(stream->all.correlation.value, block->all.correlation.value);
    EXPECT_LT(stream->all.correlation.interval.low, stream->all.correlation.value);
    EXPECT_EQ(model.of(EstimateMethod::kGradient, "conv"), nullptr);
  }
  for (const Claim& claim : studied.claims)
    if (claim.text.starts_with("The gradient's estimates are worse")) {
      EXPECT_EQ(claim.verdict, Verdict::kHolds) << claim.reason;
    }
}

TEST_F(Attributions, OfSeveralRunsAreComparedByWhatIsEstimated) {
  if (std::system("gnuplot --version > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "gnuplot is not installed";
  SyntheticOptions options = small();
  options.models.resize(1);
  const auto first = run("a", options);
  options.models[0] = {"mamba", "mamba", 12, 1e8};
  options.seed = 2;
  options.first_id = 107;
  const AnalysisSummary both = compare({first, run("b", options)}, folder_ / "ab", quick());
  EXPECT_EQ(both.problem, "");
  EXPECT_THAT(both.findings, HasSubstr("The runs differ in gradient estimates: 'gradient of mlp'"));
  EXPECT_THAT(text("ab/tables/attributions.csv"), HasSubstr("synthetic-2/mamba,mamba,12,"));
}

TEST_F(Attributions, DamageIsOneClearLine) {
  const auto message = [&](const TracedFacts& of, const AttributedEffects& stored) {
    write(of, stored);
    try {
      analyse(folder_, quick());
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  AttributedEffects wrong = effects();
  wrong.gradient[3] = kNan;
  EXPECT_THAT(message(facts(), wrong),
              AllOf(HasSubstr("attribution/effects/gradient"),
                    HasSubstr("expected a value where there is an exact effect")));
  wrong = effects();
  wrong.prompts[0] = 2;
  wrong.prompts[1] = 1;
  EXPECT_THAT(message(facts(), wrong), HasSubstr("expected the prompts of the group above"));
  wrong = effects();
  wrong.sites = {"o", "o"};
  wrong.exact.resize(2 * wrong.exact.size());
  wrong.gradient.resize(wrong.exact.size());
  EXPECT_THAT(message(facts(), wrong), HasSubstr("attribution/effects/site"));
  TracedFacts longer = facts();
  longer.token_count[0] = 4;
  EXPECT_THAT(message(longer, effects()), HasSubstr("expected as many as the longest prompt"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "report.html"));
}

}  // namespace
}  // namespace factflow
