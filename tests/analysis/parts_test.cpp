// Parts of edges and paths in the analysis: numbers by hand, claims, figures, tables, sections of
// the report, and damage.
#include "analysis/parts.hpp"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "analysis/analyse.hpp"
#include "analysis/load_runs.hpp"
#include "analysis/part_claims.hpp"
#include "analysis/part_plots.hpp"
#include "analysis/paths.hpp"
#include "analysis/study.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "experiments/evaluate/evaluation_arrays.hpp"
#include "experiments/intervene/intervention_arrays.hpp"
#include "experiments/parts/parts_arrays.hpp"
#include "results/results_file.hpp"
#include "tests/analysis/study_test.hpp"

namespace factflow {
namespace {

using testing::AllOf;
using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::size_t kPrompts = 14;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(Spearman, SharesTheRanksOfTies) {
  EXPECT_DOUBLE_EQ(spearman({1, 2, 3, 4}, {10, 20, 30, 40}), 1);
  EXPECT_DOUBLE_EQ(spearman({1, 2, 3, 4}, {4, 3, 2, 1}), -1);
  // Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5).
  EXPECT_DOUBLE_EQ(spearman({1, 2, 2, 3}, {1, 2, 3, 4}), 4.5 / std::sqrt(22.5));
  EXPECT_TRUE(std::isnan(spearman({1, 1, 1}, {1, 2, 3})));
}

TEST(FactResamples, AreOfFactsAndPaired) {
  std::vector<double> values, twice;
  std::vector<std::size_t> facts;
  for (std::size_t i = 0; i < 24; ++i) {
    values.push_back(static_cast<double>(i % 12));
    twice.push_back(2 * values.back());
    facts.push_back(i % 12);  // two prompts a fact, which are alike
  }
  const FactResamples resamples(facts, {});
  EXPECT_EQ(resamples.facts(), 12U);
  const Resampled mean = resamples.measured(resamples.means(values));
  EXPECT_DOUBLE_EQ(mean.value, 5.5);
  EXPECT_LT(mean.interval.low, 4.5);
  EXPECT_GT(mean.interval.high, 6.5);
  const Resampled ratio =
      resamples.measured({resamples.means(twice), resamples.means(values)},
                         [](const std::vector<double>& of) { return of[0] / of[1]; });
  EXPECT_THAT(ratio.interval.low, DoubleNear(2, 1e-12));
  EXPECT_THAT(ratio.interval.high, DoubleNear(2, 1e-12));
  // Nine facts are too few.
  facts.assign(24, 0);
  EXPECT_TRUE(std::isnan(
      FactResamples(facts, {}).measured(FactResamples(facts, {}).means(values)).interval.low));
}

class Parts : public StudyTest {
 protected:
  void write(const std::vector<ArrayGroup>& groups) const {
    PromptTable prompts;
    EvaluationResult clean;
    for (std::size_t i = 0; i < kPrompts; ++i) {
      prompts.id.push_back(static_cast<std::int64_t>(i) + 1);
      prompts.text.push_back("text " + std::to_string(i));
      prompts.subject.push_back("subject " + std::to_string(i));
      prompts.answer.emplace_back("x");
      prompts.relation.emplace_back(i % 2 == 0 ? "even" : "odd");
      clean.probability.push_back(0.5F);
    }
    clean.prompt = prompts.id;
    clean.rank = clean.answer_token = std::vector<std::int32_t>(kPrompts, 1);
    clean.token_count = std::vector<std::int32_t>(kPrompts, 4);
    clean.answer_text = prompts.answer;
    clean.changes = clean.tied = std::vector<std::int32_t>(kPrompts, 0);
    clean.subject_begin = std::vector<std::int32_t>(kPrompts, 0);
    clean.subject_end = std::vector<std::int32_t>(kPrompts, 1);
    clean.top = 0;
    RunInfo info;
    info.name = "parts";
    ResultsWriter writer(folder_ / "results.h5", info, prompts);
    writer.begin_model({"tiny", "mamba", "", 4, 8, 100, 1000, "", ""});
    writer.write(arrays_of(clean));
    for (const ArrayGroup& group : groups) writer.write(group);
    writer.publish({});
  }
  Study study(StudyOptions options = {}) {
    readers_.emplace_back(folder_ / "results.h5");
    options.bootstrap.resamples = 200;
    return make_study(load_runs({&readers_.back()}), options);
  }
  // The share of p that an item takes from a prompt at a start.
  static double taken(const std::string& item, std::size_t prompt, std::size_t start) {
    const double strength = (start == 1 ? 1 : 0.5) * (0.9 + 0.02 * static_cast<double>(prompt % 5));
    if (item == "subject->last") return 0.8 * strength;
    const double slice = item[item.find(' ') + 1] - '0';
    if (item.find("quantile") != std::string::npos) return (slice == 1 ? 0.5 : 0.04) * strength;
    return 0.15 * strength;  // a random slice
  }
  // The last prompt failed, the one before has no such edge.
  static CellAxes axes() {
    CellAxes axes;
    axes.items = {"subject->last"};
    for (const char* kind : {"quantile", "random"})
      for (int k = 1; k <= 3; ++k)
        axes.items.push_back("subject->last/" + std::string(kind) + " " + std::to_string(k) + "/3" +
                             (std::string(kind) == "random" ? " seed 1" : ""));
    for (std::size_t i = 0; i < kPrompts; ++i)
      axes.prompts.push_back(static_cast<std::int64_t>(i) + 1);
    for (std::size_t item = 0; item < axes.items.size(); ++item)
      for (std::size_t i = 0; i < kPrompts; ++i)
        axes.blocked.push_back(i + 1 == kPrompts ? kFailedPrompt : i + 2 == kPrompts ? 0 : 2);
    return axes;
  }
  static CellWindow window() {
    CellWindow window{2, "fit", {0, 1, 2}, {}, {}};
    const CellAxes of = axes();
    for (const std::string& item : of.items)
      for (std::size_t i = 0; i < kPrompts; ++i)
        for (std::size_t start = 0; start < 3; ++start) {
          const bool none = i + 2 >= kPrompts;
          const double left = 1 - taken(item, i, start);
          window.probability.push_back(none ? kNan : static_cast<float>(0.5 * left));
          window.log_change.push_back(none ? kNan : static_cast<float>(std::log(left)));
          window.rank.push_back(none ? 0 : 1);
        }
    return window;
  }
  // Greedy: 60, 78, 80 %; random: 10, 20, 80 %.
  static CumulatedParts cumulated() {
    CumulatedParts parts{"subject->last", "each quantile of 3", 2,  1, 5, {"greedy", "random"},
                         {1, 2, 3},       axes().prompts,       {}, {}};
    for (const char* order : {"132", "321"})
      for (const char* k = order; *k != 0; ++k)
        parts.part.push_back(std::string("subject->last/quantile ") + *k + "/3");
    for (const double share : {0.6, 0.78, 0.8, 0.1, 0.2, 0.8})
      for (std::size_t i = 0; i < kPrompts; ++i)
        parts.log_change.push_back(i + 2 >= kPrompts ? kNan
                                                     : static_cast<float>(std::log(1 - share)));
    return parts;
  }
  std::vector<ArrayGroup> groups() const {
    return {arrays_of(part_names(), axes()), arrays_of(part_names(), axes(), window()),
            arrays_of(cumulated(), 0)};
  }
};

TEST_F(Parts, AreMeansOfRelativeChanges) {
  write(groups());
  const Study studied = study();
  ASSERT_EQ(studied.parts.size(), 1U);
  const ModelParts& parts = studied.parts[0];
  EXPECT_EQ(parts.failed, 1U);
  ASSERT_EQ(parts.edges.size(), 2U);
  const DividedEdge& edge = parts.edges[0];
  EXPECT_EQ(edge.division, "each quantile of 3");
  EXPECT_THAT(edge.parts, ElementsAre("quantile 1/3", "quantile 2/3", "quantile 3/3"));
  EXPECT_EQ(edge.n, kPrompts - 2);
  EXPECT_EQ(edge.strongest, 1U);
  double strength = 0;
  for (std::size_t i = 0; i + 2 < kPrompts; ++i)
    strength += taken("subject->last", i, 1) / 0.8 / static_cast<double>(kPrompts - 2);
  const PartsAtStart& at = edge.at_strongest();
  EXPECT_THAT(at.whole.value, DoubleNear(-80 * strength, 1e-4));
  EXPECT_THAT(at.parts[0].value, DoubleNear(-50 * strength, 1e-4));
  EXPECT_THAT(at.sum.value, DoubleNear(-58 * strength, 1e-4));
  EXPECT_THAT(at.excess.value, DoubleNear(22 * strength, 1e-4));
  EXPECT_GT(at.excess.interval.low, 0);
  EXPECT_THAT(edge.bend.value, DoubleNear(1.0 / 3, 1e-12));
  EXPECT_THAT(edge.slow_share.value, DoubleNear(50.0 / 58, 1e-6));
  // 1, 2.5, 2.5 in the ranks of -50, -4, -4.
  EXPECT_GT(at.trend.value, 0.8);
  EXPECT_EQ(edge.overlaps.size(), 1U);
  EXPECT_EQ(edge.overlaps[0].top, 1U);
  EXPECT_EQ(edge.overlaps[0].shared, 1U);
}

TEST_F(Parts, SlowSlicesAreHeldAgainstRandomOnes) {
  write(groups());
  const Study studied = study();
  ASSERT_EQ(studied.parts[0].contrasts.size(), 1U);
  const SlowAgainstRandom& of = studied.parts[0].contrasts[0];
  EXPECT_EQ(of.control, "each random of 3 seed 1");
  EXPECT_EQ(of.start, 1);
  EXPECT_THAT(of.difference.value, DoubleNear(of.random.value - of.slow.value, 1e-9));
  EXPECT_GT(of.difference.interval.low, 0);
  const auto verdict = [&](const char* words) {
    for (const Claim& claim : studied.claims)
      if (claim.text.find(words) != std::string::npos) return claim.verdict;
    return Verdict::kCannotTell;
  };
  EXPECT_EQ(verdict("Slow channels carry more"), Verdict::kHolds);
  EXPECT_EQ(verdict("ends at the slowest third"), Verdict::kHolds);
}

TEST_F(Parts, TogetherNeedSoManyForNineTenths) {
  write(groups());
  const Study studied = study();
  ASSERT_EQ(studied.parts[0].cumulated.size(), 1U);
  const CumulatedCurve& curve = studied.parts[0].cumulated[0];
  EXPECT_THAT(curve.whole.value, DoubleNear(-80, 1e-3));
  ASSERT_EQ(curve.orders.size(), 2U);
  EXPECT_DOUBLE_EQ(curve.orders[0].needed.value, 2);  // 78 of 80 are more than 90 %
  EXPECT_DOUBLE_EQ(curve.orders[1].needed.value, 3);
  EXPECT_THAT(curve.orders[0].parts, ElementsAre("quantile 1/3", "quantile 3/3", "quantile 2/3"));
}

TEST_F(Parts, WithoutAnEffectNothingIsClaimed) {
  CellWindow still = window();
  for (float& log : still.log_change)
    if (!std::isnan(log)) log = 0;
  for (float& p : still.probability)
    if (!std::isnan(p)) p = 0.5F;
  write({arrays_of(part_names(), axes()), arrays_of(part_names(), axes(), still)});
  for (const Claim& claim : study().claims) {
    if (claim.source != kBeyondSource) continue;
    EXPECT_EQ(claim.verdict, Verdict::kCannotTell) << claim.text;
  }
}

TEST_F(Parts, HaveFiguresTablesFindingsAndASection) {
  if (std::system("gnuplot --version > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "gnuplot is not installed";
  write(groups());
  AnalysisOptions options;
  options.study.bootstrap.resamples = 200;
  const AnalysisSummary summary = analyse(folder_, options);
  EXPECT_EQ(summary.problem, "");
  for (const char* stem : {"parts_slices_tiny", "parts_depth_tiny", "parts_together_tiny",
                           "parts_bars_tiny_quantile_of_3"})
    for (const char* ending : {".svg", ".pdf", ".png", "_column.pdf"})
      EXPECT_TRUE(std::filesystem::exists(folder_ / "figures" / (std::string(stem) + ending)))
          << stem << ending;
  EXPECT_THAT(read_file(folder_ / "tables/part_steps.csv"),
              HasSubstr("tiny,mamba,4,subject->last,each quantile of 3,2,1,5,greedy,1,quantile "
                        "1/3,12,12,"));
  EXPECT_THAT(summary.findings,
              AllOf(HasSubstr("Parts of edges, no part of the findings"),
                    HasSubstr("How many parts give 90 % of the whole"),
                    HasSubstr("tiny: parts of edges of 13 of 14 prompts; left out: 1 without")));
  const std::string page = read_file(folder_ / "report.html");
  for (const char* words : {"<section id=\"parts\">", "<a href=\"#parts\">", "tables/parts.csv",
                            "Slow slices against random ones", "<polyline"})
    EXPECT_THAT(page, HasSubstr(words));
}

TEST_F(Parts, DamageIsOneClearLine) {
  CumulatedParts wrong = cumulated();
  wrong.steps[1] = 7;
  write({arrays_of(part_names(), axes()), arrays_of(part_names(), axes(), window()),
         arrays_of(wrong, 0)});
  try {
    study();
    ADD_FAILURE() << "no error";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("tiny/parts/cumulated_0"), HasSubstr("expected 1, 2, ...")));
  }
}

// ---- paths

TEST(PathNames, AreReadOffTheRows) {
  const auto path = [](const char* row) {
    const auto name = path_of_row(row);
    return name ? name->tokens + "|" + name->target + "|" + name->path + "|" + name->value : "";
  };
  EXPECT_EQ(path("subject->last"), "subject|last|state|");
  EXPECT_EQ(path("relation-minus-last->last through convolution"),
            "relation-minus-last|last|convolution|");
  EXPECT_EQ(path("first->last through mixer"), "first|last|mixer|");
  EXPECT_EQ(path("g(last) = zero"), "last||g|zero");
  EXPECT_EQ(path("mlp(subject-last) = mean"), "subject-last||mlp|mean");
  for (const char* other :
       {"subject->last/slow", "subject->last heads 0 1", "subject->last & first->last", "mine",
        "h(subject) + noise 0.5", "h(subject) = zero", "my name: g(last) = zero",
        "subject->last through convolution of x", "s(last) channels 1 2 = zero"})
    EXPECT_EQ(path(other), "") << other;
}

class Paths : public Parts {
 protected:
  // The state alone takes 30 %, the convolution 30 %, both 75 %; of half of the prompts no source
  // is in the convolution's reach.
  void write_paths() const {
    CellAxes axes;
    axes.items = {"subject->last", "subject->last through convolution",
                  "subject->last through mixer", "g(subject) = zero"};
    for (std::size_t i = 0; i < kPrompts; ++i)
      axes.prompts.push_back(static_cast<std::int64_t>(i) + 1);
    CellWindow window{2, "fit", {0, 1, 2}, {}, {}};
    for (std::size_t item = 0; item < 4; ++item)
      for (std::size_t i = 0; i < kPrompts; ++i) {
        const bool none = item == 1 && i % 2 == 0;
        axes.blocked.push_back(none ? 0 : 2);
        for (int start = 0; start < 3; ++start) {
          const double share = item == 2 ? 0.75 : item == 3 ? 0.1 : 0.3;
          const double left =
              1 - share * (start == 2 ? 1 : 0.25) * (0.9 + 0.02 * static_cast<double>(i % 5));
          window.probability.push_back(none ? kNan : static_cast<float>(0.5 * left));
          window.log_change.push_back(none ? kNan : static_cast<float>(std::log(left)));
          window.rank.push_back(none ? 0 : 1);
        }
      }
    write({arrays_of(intervention_names(), axes), arrays_of(intervention_names(), axes, window)});
  }
};

TEST_F(Paths, SayWhatTheScanAloneMisses) {
  write_paths();
  const Study studied = study();
  ASSERT_EQ(studied.paths.size(), 1U);
  const ModelPaths& paths = studied.paths[0];
  EXPECT_EQ(paths.paths.size(), 4U);
  ASSERT_EQ(paths.missed.size(), 1U);
  const MissedPath& missed = paths.missed[0];
  EXPECT_EQ(missed.start, 2);
  EXPECT_THAT(missed.missed.value, DoubleNear(60, 1e-4));
  EXPECT_GT(missed.missed.interval.low, 10);
  EXPECT_EQ(missed.n, kPrompts);
  EXPECT_EQ(missed.in_reach, kPrompts / 2);
  // 30 + 30 - 75 of the size that both have there.
  EXPECT_THAT(missed.interaction.value, DoubleNear(missed.mixer.value * -0.2, 1));
  const Claim* claim = nullptr;
  for (const Claim& one : studied.claims)
    if (one.text.starts_with("The state carries")) claim = &one;
  ASSERT_NE(claim, nullptr);
  EXPECT_EQ(claim->verdict, Verdict::kDoesNotHold);
}

TEST_F(Paths, HaveAFigureTablesAndASection) {
  if (std::system("gnuplot --version > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "gnuplot is not installed";
  write_paths();
  AnalysisOptions options;
  options.study.bootstrap.resamples = 200;
  const AnalysisSummary summary = analyse(folder_, options);
  EXPECT_EQ(summary.problem, "");
  EXPECT_TRUE(std::filesystem::exists(folder_ / "figures/paths_tiny_w2.svg"));
  EXPECT_THAT(read_file(folder_ / "figures/paths_tiny_w2.svg"),
              AllOf(HasSubstr("convolution"), HasSubstr("gate = zero")));
  EXPECT_THAT(read_file(folder_ / "tables/missed_paths.csv"),
              HasSubstr("tiny,mamba,4,selected,2,subject,last,2,0.5,14,14,"));
  EXPECT_THAT(summary.findings, HasSubstr("missed: (both - state) / both"));
  EXPECT_THAT(read_file(folder_ / "report.html"),
              AllOf(HasSubstr("<section id=\"paths\">"), HasSubstr("What a knockout of the scan")));
}

}  // namespace
}  // namespace factflow
