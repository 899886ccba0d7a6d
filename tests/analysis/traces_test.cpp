// Causal traces in the analysis: effects and group means by hand, facts that are left out, figures,
// tables, findings and the section of the report, runs of traces alone, and damage.
#include "analysis/traces.hpp"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "analysis/analyse.hpp"
#include "analysis/comparable.hpp"
#include "analysis/figures.hpp"
#include "analysis/findings.hpp"
#include "analysis/load_runs.hpp"
#include "analysis/trace_report.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "experiments/evaluate/evaluation_arrays.hpp"
#include "tests/analysis/study_test.hpp"

namespace factflow {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

bool has_gnuplot() {
  return std::system("gnuplot --version > /dev/null 2>&1") == 0;
}

// "0-1 - 1-2 ...", with "-" for what a prompt does not have.
std::string words(const std::array<TokenRange, kTokenGroups>& ranges) {
  std::string text;
  for (const TokenRange range : ranges)
    text +=
        (text.empty() ? "" : " ") +
        (range.begin < range.end ? std::to_string(range.begin) + ".." + std::to_string(range.end)
                                 : std::string("-"));
  return text;
}

TEST(TokenGroups, OfSharmaAndOthers) {
  const auto groups = [](int a, int b, int tokens) {
    return words(token_groups(TraceGrouping::kSharma, a, b, tokens));
  };
  EXPECT_EQ(groups(2, 6, 9), "0..2 2..4 4..5 5..6 6..8 8..9");
  EXPECT_EQ(groups(0, 2, 4), "- - 0..1 1..2 2..3 3..4");
  EXPECT_EQ(groups(1, 2, 4), "0..1 - - 1..2 2..3 3..4");
  EXPECT_EQ(groups(0, 1, 2), "- - - 0..1 - 1..2");
  EXPECT_EQ(groups(0, 3, 3), "- 0..1 1..2 2..3 - 2..3");
}

TEST(TokenGroups, OfMengAndOthers) {
  const auto groups = [](int a, int b, int tokens) {
    return words(token_groups(TraceGrouping::kRome, a, b, tokens));
  };
  EXPECT_EQ(groups(2, 6, 9), "2..3 3..5 5..6 6..7 7..8 8..9");
  EXPECT_EQ(groups(0, 2, 4), "0..1 - 1..2 2..3 - 3..4");
  EXPECT_EQ(groups(1, 2, 3), "1..2 - 1..2 2..3 - 2..3");
  EXPECT_EQ(groups(0, 3, 3), "0..1 1..2 2..3 - - 2..3");
}

TEST(IndirectEffects, AreSharesOfTheDifference) {
  EXPECT_DOUBLE_EQ(indirect_effect(TraceDirection::kRestore, 0.5, 0.25, 0.75), 0.5);
  EXPECT_DOUBLE_EQ(indirect_effect(TraceDirection::kRestore, 0.125, 0.25, 0.75), -0.25);
  EXPECT_DOUBLE_EQ(indirect_effect(TraceDirection::kBreak, 0.625, 0.25, 0.75), 0.25);
  EXPECT_DOUBLE_EQ(indirect_effect(TraceDirection::kBreak, 0.25, 0.25, 0.75), 1);
}

TEST(PublishedLayers, AreOneLessForTheStream) {
  EXPECT_EQ(published_layer("h", 0), -1);
  EXPECT_EQ(published_layer("h", 64), 63);
  EXPECT_EQ(published_layer("o", 5), 5);
}

class Traces : public StudyTest {
 protected:
  static SyntheticOptions small() {
    SyntheticOptions options = synthetic_report();
    options.models = {{"gpt2", "gpt2", 8, 1e8}, {"mamba", "mamba", 12, 1e8}};
    options.prompts = 24;
    options.windows = {3};
    options.edges = {"subject->last"};
    options.heatmap_prompts = 0;
    options.failed_share = 0;
    add_traces(options);
    options.traced = 18;
    options.trace_windows = {4};
    return options;
  }
  static SyntheticOptions alone() {
    SyntheticOptions options = small();
    options.knockouts = false;
    return options;
  }
  Study study(const std::vector<std::filesystem::path>& folders, StudyOptions options = {}) {
    std::vector<const ResultsReader*> pointers;
    for (const auto& folder : folders)
      pointers.push_back(&readers_.emplace_back(folder / "results.h5"));
    options.bootstrap.resamples = 50;
    return make_study(load_runs(pointers), options);
  }

  // A model of four layers and five prompts.
  void write(const std::vector<ArrayGroup>& groups) const {
    PromptTable prompts;
    prompts.id = {1, 2, 3, 4, 5};
    prompts.text = prompts.subject = {"one", "two", "three", "four", "five"};
    prompts.answer = prompts.relation = std::vector<std::string>(5, "x");
    EvaluationResult clean;
    clean.prompt = prompts.id;
    clean.probability = {0.75F, 0.75F, 0.75F, 0.5F, 0.9F};
    clean.rank = clean.answer_token = std::vector<std::int32_t>(5, 1);
    clean.token_count = {4, 4, 7, 3, 3};
    clean.answer_text = prompts.answer;
    clean.changes = clean.tied = std::vector<std::int32_t>(5, 0);
    clean.subject_begin = {1, 0, 1, 0, 0};
    clean.subject_end = {2, 2, 5, 1, 1};
    clean.top = 0;
    ResultsWriter writer(folder_ / "results.h5", RunInfo{}, prompts);
    writer.begin_model({"tiny", "mamba", "", 4, 8, 100, 1000, "", ""});
    writer.write(arrays_of(clean));
    for (const ArrayGroup& group : groups) writer.write(group);
    writer.publish({});
  }

  // Subjects of one, two and four tokens; one whose other subject is nearly as good; a failure.
  static TracedFacts facts() {
    TracedFacts facts;
    facts.prompts = {1, 2, 3, 4, 5};
    facts.counterfactual = {"a", "b", "c", "d", ""};
    facts.high = {0.75F, 0.75F, 0.75F, 0.5F, kNan};
    facts.low = {0.25F, 0.25F, 0.25F, 0.46875F, kNan};
    facts.subject_begin = {1, 0, 1, 0, -1};
    facts.subject_end = {2, 2, 5, 1, -1};
    facts.token_count = {4, 4, 7, 3, 0};
    return facts;
  }
  static HeatmapResult map(std::int64_t prompt, std::size_t tokens, std::vector<float> p) {
    return {2, "centred", prompt, std::vector<std::string>(tokens, "t"), {1, 3}, std::move(p)};
  }
  static std::vector<HeatmapResult> maps() {
    return {map(1, 4, {0.25F, 0.25F, 0.5F, 0.375F, 0.25F, 0.3125F, 0.25F, 0.75F}),
            map(2, 4, {0.375F, 0.25F, 0.75F, 0.5F, 0.25F, 0.25F, 0.25F, 0.5F}),
            map(3, 7,
                {0.25F, 0.25F, 0.5F, 0.25F, 0.25F, 0.375F, 0.25F, 0.5F, 0.25F, 0.25F, 0.125F, 0.25F,
                 0.5F, 0.625F}),
            map(4, 3, {0, 0, 1, 1, 0, 1})};
  }
  void write_all(const std::vector<HeatmapResult>& restored) const {
    std::vector<ArrayGroup> groups = {arrays_of(facts())};
    for (ArrayGroup& group : arrays_of(restored, trace_map_names(TraceDirection::kRestore, "o")))
      groups.push_back(std::move(group));
    write(groups);
  }
};

void expect_means(const TraceAverage& average, TraceGrouping grouping, std::size_t group,
                  std::size_t n, std::size_t prompts, double first, double second) {
  const std::vector<TracePoint>& points = average.of(grouping, group);
  const std::string name = name_of_group(grouping, group);
  ASSERT_EQ(points.size(), 2U) << name;
  EXPECT_EQ(points[0].n, n) << name;
  EXPECT_EQ(points[0].prompts, prompts) << name;
  EXPECT_NEAR(points[0].effect, first, 1e-12) << name;
  EXPECT_NEAR(points[1].effect, second, 1e-12) << name;
}

TEST_F(Traces, GroupMeansAreThoseByHand) {
  write_all(maps());
  const Study studied = study({folder_});
  ASSERT_EQ(studied.traces.size(), 1U);
  const ModelTraces& traces = studied.traces[0];
  ASSERT_EQ(traces.averages.size(), 1U);
  const TraceAverage& average = traces.averages[0];
  EXPECT_EQ(average.prompts, 3U);
  EXPECT_THAT(average.centres, ElementsAre(1, 3));
  const TraceGrouping sharma = TraceGrouping::kSharma, rome = TraceGrouping::kRome;
  expect_means(average, sharma, 0, 2, 2, 0, 0);
  expect_means(average, sharma, 1, 1, 1, 0.25, 0.125);
  expect_means(average, sharma, 2, 2, 2, 0.125, 0.25);
  expect_means(average, sharma, 3, 3, 3, 0.5, 0.25);
  expect_means(average, sharma, 4, 3, 3, -0.25 / 3, 0.125 / 3);
  expect_means(average, sharma, 5, 3, 3, 0.5 / 3, 0.75);
  expect_means(average, rome, 0, 3, 3, 1.25 / 3, 0.25 / 3);
  expect_means(average, rome, 1, 2, 1, 0, 0.375);
  expect_means(average, rome, 2, 3, 3, 0.5, 0.25);
  expect_means(average, rome, 3, 3, 3, -0.25 / 3, 0.125 / 3);
  EXPECT_EQ(average.of(rome, 4)[0].n, 0U);
  EXPECT_TRUE(std::isnan(average.of(rome, 4)[0].effect));
  expect_means(average, rome, 5, 3, 3, 0.5 / 3, 0.75);
  // 0.5 +- t(0.975, 2) 0.5 / sqrt(3), and p / 0.5 of 0.5, 0.75 and 0.25
  const TracePoint& point = average.of(sharma, 3)[0];
  EXPECT_EQ(point.facts, 3U);
  EXPECT_NEAR(point.interval.low, 0.5 - 4.302652729749464 * 0.5 / std::sqrt(3), 1e-9);
  EXPECT_DOUBLE_EQ(point.published, 1);
  EXPECT_TRUE(std::isnan(average.of(sharma, 2)[0].interval.low));
  EXPECT_EQ(peak_of(average, sharma, 3).centre, 1);
  EXPECT_EQ(peak_of(average, sharma, 5).centre, 3);
  EXPECT_EQ(peak_of(average, rome, 4).centre, -1);
}

TEST_F(Traces, FactsThatAreLeftOutAreCounted) {
  write_all(maps());
  const Study studied = study({folder_});
  EXPECT_THAT(trace_counts(studied),
              ElementsAre("tiny: traces of 3 of 5 traced prompts; left out: 1 without a value, 1 "
                          "with high - low < 0.05."));
  EXPECT_THAT(gaps(studied), Contains(HasSubstr("tiny: traces of 3 of 5")));
  StudyOptions options;
  options.p_clean = {0.6, 1};
  const Study limited = study({folder_}, options);
  EXPECT_EQ(limited.traces[0].facts[3].use, FactUse::kOutsideLimits);
  EXPECT_THAT(gaps(limited), Contains(HasSubstr("tiny 3 of 4 that were traced")));
  options.p_clean = {0.76, 1};
  EXPECT_THROW(study({folder_}, options), InputError);
}

TEST_F(Traces, WithoutAnyFactToAverageNothingIsDrawn) {
  write_all({maps()[3]});
  const Study studied = study({folder_});
  EXPECT_EQ(studied.traces[0].averages[0].prompts, 0U);
  const FigureSet figures = make_figures(studied, {});
  EXPECT_THAT(figures.figures, IsEmpty());
  EXPECT_THAT(figures.omitted, Contains(HasSubstr("trace_tiny_restore is not drawn")));
  TracedFacts failed = facts();
  failed.high = failed.low = std::vector<float>(5, kNan);
  write({arrays_of(failed)});
  EXPECT_THAT(trace_counts(study({folder_})),
              ElementsAre("tiny: traces of 0 of 5 traced prompts; left out: 5 without a value."));
}

TEST_F(Traces, BrokenRunsLoseWhatIsWritten) {
  std::vector<ArrayGroup> groups = {arrays_of(facts())};
  for (ArrayGroup& group : arrays_of(maps(), trace_map_names(TraceDirection::kBreak, "h")))
    groups.push_back(std::move(group));
  write(groups);
  const Study studied = study({folder_});
  const TraceAverage& average = studied.traces[0].averages[0];
  expect_means(average, TraceGrouping::kSharma, 3, 3, 3, 0.5, 0.75);
  EXPECT_TRUE(std::isnan(average.of(TraceGrouping::kSharma, 3)[0].published));
  EXPECT_EQ(average.direction, TraceDirection::kBreak);
}

// From noise: the same means, and every text says so.
TEST_F(Traces, FromNoiseAreToldApart) {
  TracedFacts noised = facts();
  noised.corruption = Corruption::kNoise;
  noised.noise_copies = 10;
  noised.noise_deviation = 0.125;
  std::vector<ArrayGroup> groups = {arrays_of(noised)};
  for (ArrayGroup& group :
       arrays_of(maps(), trace_map_names(TraceDirection::kRestore, "o", Corruption::kNoise)))
    groups.push_back(std::move(group));
  write(groups);
  const Study studied = study({folder_});
  const ModelTraces& traces = studied.traces[0];
  EXPECT_EQ(traces.corruption, Corruption::kNoise);
  EXPECT_EQ(traces.facts[0].counterfactual, "");
  expect_means(traces.averages[0], TraceGrouping::kSharma, 3, 3, 3, 0.5, 0.25);
  EXPECT_THAT(trace_counts(studied)[0], HasSubstr("tiny: traces from noise of 3 of 5"));
  const std::string chart = trace_charts(traces)[0].caption;
  EXPECT_THAT(chart, HasSubstr("noise on the subject's embeddings (standard deviation 0.125, 10 "
                               "copies)"));
  EXPECT_THAT(chart, Not(HasSubstr("another subject")));
  EXPECT_EQ(peak_rows(studied)[1][1], "restore o from noise, subject's last");
  const AnalysisSummary summary = analyse(folder_, quick());
  EXPECT_THAT(text("tables/traces.csv"), HasSubstr("tiny,mamba,4,noise,restore,o,2,"));
  EXPECT_THAT(text("report.html"), HasSubstr("restore from noise"));
}

TEST_F(Traces, HaveFiguresTablesFindingsAndASection) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  const auto folder = run("both", small());
  const AnalysisSummary summary = analyse(folder, quick());
  EXPECT_EQ(summary.problem, "");
  for (const char* stem : {"trace_gpt2_restore", "trace_mamba_restore", "trace_mamba_break",
                           "trace_100_h", "trace_100_mlp"})
    for (const char* ending : {".svg", ".pdf", ".png", "_column.pdf"})
      EXPECT_TRUE(std::filesystem::exists(folder / "figures" / (std::string(stem) + ending)))
          << stem << ending;
  const std::string figure = text("both/figures/trace_mamba_restore.svg");
  EXPECT_THAT(figure, HasSubstr("mean indirect effect"));
  EXPECT_THAT(figure, HasSubstr("h, window of 1 layer"));
  EXPECT_THAT(figure, HasSubstr("o, window of 4 layers"));
  EXPECT_THAT(figure, HasSubstr("subject [-1]"));
  EXPECT_THAT(figure, HasSubstr("n = 13; 5 prompts left out"));
  EXPECT_THAT(
      text("both/tables/traces.csv"),
      AllOf(testing::StartsWith("model,family,layers,corruption,direction,site,window,placement,"),
            HasSubstr("mamba,mamba,12,subject,restore,h,1,centred,sharma,subject [-1],12,11,13,")));
  EXPECT_THAT(text("both/tables/trace_facts.csv"),
              AllOf(HasSubstr(",0,with high - low < 0.05"), HasSubstr(",0,without a value")));
  EXPECT_THAT(summary.findings,
              AllOf(HasSubstr("Causal traces, no part of the findings\n"),
                    HasSubstr("Claims of Sharma et al. (arXiv 2404.03646)"),
                    HasSubstr("Claims of Endy et al. (arXiv 2505.24244)"),
                    HasSubstr("restore h, last token"),
                    HasSubstr("mamba: traces of 13 of 18 traced prompts; left out: 2 without a "
                              "value, 3 with high - low < 0.05.")));
  const std::string page = text("both/report.html");
  for (const char* words :
       {"<section id=\"traces\">", "<a href=\"#traces\">", "tables/traces.csv",
        "<section id=\"claims\">", "<h3>Sharma et al.", "figures/trace_mamba_restore.pdf",
        "left out: 2 without a value", "role=\"img\"", "<section id=\"figures\">"})
    EXPECT_THAT(page, HasSubstr(words));
}

TEST_F(Traces, ARunOfThemAloneIsAnalysedAndCompared) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  SyntheticOptions options = alone();
  const auto first = run("a", options);
  const AnalysisSummary summary = analyse(first, quick());
  EXPECT_EQ(summary.problem, "");
  EXPECT_THAT(summary.findings, AllOf(HasSubstr("No knockouts"), HasSubstr("restore o, subject's"),
                                      HasSubstr("- The residual stream carries the fact"),
                                      Not(HasSubstr("Endy et al."))));
  EXPECT_THAT(text("a/tables/claims.csv"),
              HasSubstr("\"Sharma et al. (arXiv 2404.03646), section 3, figures 2 and 3\""));
  EXPECT_THAT(text("a/report.html"),
              AllOf(HasSubstr("<section id=\"traces\">"), Not(HasSubstr("Apache ECharts\","))));
  // Other windows, other ids of the same prompts: one of them is a prompt of the first run.
  options.seed = 2;
  options.first_id = 107;
  options.trace_windows = {4, 6};
  const auto second = run("b", options);
  const AnalysisSummary both = compare({first, second}, folder_ / "ab", quick());
  EXPECT_EQ(both.problem, "");
  EXPECT_THAT(both.findings,
              HasSubstr("The runs differ in what is traced: none of these (synthetic), 'break a at "
                        "6', 'break g at 6',"));
  EXPECT_THAT(text("ab/tables/traces.csv"),
              HasSubstr("synthetic-2/mamba,mamba,12,subject,restore,o,6,"));
  EXPECT_TRUE(
      std::filesystem::exists(folder_ / "ab/figures/trace_synthetic-2_mamba_restore_w6.pdf"));
}

TEST_F(Traces, TheirPlacementIsNoOnesElse) {
  SyntheticOptions swept = small();
  swept.traced = 0;
  SyntheticOptions traced = alone();
  traced.seed = 2;
  AnalysisOptions options = quick();
  EXPECT_NO_THROW(compare({run("swept", swept), run("traced", traced)}, folder_ / "out", options));
}

TEST_F(Traces, OneFactIsOneCluster) {
  SyntheticOptions options = alone();
  options.phrasings = 2;
  options.one_word_share = 0;
  const Study studied = study({run("twice", options)});
  const TracePoint& point = studied.traces[0].averages[0].of(TraceGrouping::kSharma, 3)[0];
  EXPECT_EQ(point.n, 13U);
  EXPECT_LT(point.facts, 13U);
}

TEST_F(Traces, ChartsHoldASiteOnce) {
  SyntheticOptions options = alone();
  options.trace_windows = {2, 5};
  options.trace_broken = false;
  const Study studied = study({run("windows", options)});
  const std::vector<TraceChart> charts = trace_charts(studied.traces[0]);
  ASSERT_EQ(charts.size(), 2U);
  EXPECT_EQ(charts[0].stem, "trace_gpt2_restore_w2");
  EXPECT_EQ(charts[1].stem, "trace_gpt2_restore_w5");
  for (const TraceChart& chart : charts) EXPECT_EQ(chart.maps.size(), 3U);
  FigureOptions limits;
  limits.models = 1;
  limits.heatmap_prompts = 1;
  const FigureSet figures = make_figures(studied, limits);
  EXPECT_THAT(figures.omitted,
              Contains("Figures of traces are drawn for the first 1 of 2 models."));
  EXPECT_THAT(figures.omitted, Contains(HasSubstr("Traces of single prompts are drawn for 1 of")));
}

TEST_F(Traces, AWindowOfTheFindingsIsNotTheirs) {
  const auto folder = run("alone", alone());
  StudyOptions options;
  options.window = 4;
  try {
    study({folder}, options);
    ADD_FAILURE();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("traces are shown at every size"));
  }
}

TEST_F(Traces, DamageIsOneClearLine) {
  const auto message = [&](const TracedFacts& of, const std::vector<HeatmapResult>& restored) {
    std::vector<ArrayGroup> groups;
    if (!of.prompts.empty()) groups.push_back(arrays_of(of));
    for (ArrayGroup& group : arrays_of(restored, trace_map_names(TraceDirection::kRestore, "o")))
      groups.push_back(std::move(group));
    write(groups);
    try {
      analyse(folder_, quick());
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(message({}, maps()), AllOf(HasSubstr("tiny/trace"), HasSubstr("missing")));
  EXPECT_THAT(message(facts(), {map(5, 1, {0.1F, 0.2F})}),
              AllOf(HasSubstr("trace_restore_o/window_2/5"), HasSubstr("no fact")));
  EXPECT_THAT(message(facts(), {map(77, 1, {0.1F, 0.2F})}),
              AllOf(HasSubstr("trace_restore_o/window_2/77"), HasSubstr("no fact")));
  EXPECT_THAT(
      message(facts(), {map(1, 1, {0.1F, 0.2F})}),
      AllOf(HasSubstr("trace_restore_o/window_2/1"), HasSubstr("1 tokens"), HasSubstr("4")));
  EXPECT_THAT(message(facts(), {map(1, 1, {1.5F, 0.2F})}),
              AllOf(HasSubstr("trace_restore_o"), HasSubstr("probabilities")));
  TracedFacts outside = facts();
  outside.subject_end[2] = 8;
  EXPECT_THAT(message(outside, maps()), AllOf(HasSubstr("trace"), HasSubstr("subjects inside")));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "report.html"));
}

}  // namespace
}  // namespace factflow
