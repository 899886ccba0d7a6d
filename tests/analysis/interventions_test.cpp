// Interventions in the analysis: numbers by hand, their figures, tables and section of the report,
// with knockouts and without, and damage to what is stored of them.
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "analysis/analyse.hpp"
#include "analysis/comparable.hpp"
#include "analysis/coverage.hpp"
#include "analysis/figures.hpp"
#include "analysis/findings.hpp"
#include "analysis/load_runs.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "experiments/evaluate/evaluation_arrays.hpp"
#include "experiments/intervene/intervention_arrays.hpp"
#include "tests/analysis/study_test.hpp"

namespace factflow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

bool has_gnuplot() {
  return std::system("gnuplot --version > /dev/null 2>&1") == 0;
}

TEST(RowNames, StandAsTheyAreWithArrows) {
  EXPECT_EQ(name_of_row("subject->last through state/x").display(),
            "subject \u2192 last through state/x");
  EXPECT_EQ(name_of_row("a -> b, c->d").display(), "a \u2192 b, c \u2192 d");
  EXPECT_EQ(name_of_row("s(subject) = zero").display(), "s(subject) = zero");
  EXPECT_EQ(name_of_row("subject->last/slow").label, "subject->last/slow");
  EXPECT_TRUE(name_of_row("subject->last/slow").whole());
}

TEST(RowPlaces, PanelsAreEvenlyFilled) {
  std::vector<std::size_t> panels, lines;
  for (std::size_t row = 0; row < 7; ++row) {
    panels.push_back(place_of_row(row, 7).panel);
    lines.push_back(place_of_row(row, 7).line);
  }
  EXPECT_THAT(panels, ElementsAre(0, 0, 0, 0, 1, 1, 1));
  EXPECT_THAT(lines, ElementsAre(0, 1, 2, 3, 0, 1, 2));
  for (std::size_t rows = 1; rows < 40; ++rows)
    for (std::size_t row = 0; row < rows; ++row)
      EXPECT_LT(place_of_row(row, rows).line, kMostRowsOfPanel);
}

class Interventions : public StudyTest {
 protected:
  static SyntheticOptions small() {
    SyntheticOptions options = synthetic_report();
    options.models = {{"gpt2", "gpt2", 8, 1e8}, {"mamba", "mamba", 12, 1e8}};
    options.prompts = 24;
    options.windows = {1, 3};
    options.edges = {"subject->last", "last->last"};
    options.heatmap_prompts = 2;
    options.heatmap_windows = {1, 3};
    add_interventions(options);
    return options;
  }
  static SyntheticOptions rows_only() {
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

  // Three prompts with p(clean) 0.5, 0.4 and 0.2, and the groups that are given.
  void write(const std::vector<ArrayGroup>& groups) const {
    PromptTable prompts;
    prompts.id = {1, 2, 3};
    prompts.text = {"one is", "two is", "three is"};
    prompts.subject = {"one", "two", "three"};
    prompts.answer = prompts.relation = {"x", "x", "x"};
    EvaluationResult clean;
    clean.prompt = prompts.id;
    clean.probability = {0.5F, 0.4F, 0.2F};
    clean.rank = {1, 1, 1};
    clean.answer_token = clean.token_count = {3, 3, 3};
    clean.answer_text = prompts.answer;
    clean.changes = clean.subject_begin = clean.tied = {0, 0, 0};
    clean.subject_end = {1, 1, 1};
    clean.top = 0;
    ResultsWriter writer(folder_ / "results.h5", RunInfo{}, prompts);
    writer.begin_model({"tiny", "mamba", "", 4, 8, 100, 1000, "", ""});
    writer.write(arrays_of(clean));
    for (const ArrayGroup& group : groups) writer.write(group);
    writer.publish({});
  }

  static CellAxes axes() {
    CellAxes axes;
    axes.items = {"s(subject) = zero", "context->last"};
    axes.prompts = {1, 2, 3};
    axes.blocked = {1, 2, 5, 0, 3, 0};
    return axes;
  }
  // [row, prompt, start]
  static CellWindow window() {
    CellWindow window{3, "fit", {0, 1}, {}, {}};
    window.probability = {0.25F, 0.5F, 0.1F, 0.4F, 0,    0.1F,  //
                          kNan,  kNan, 0.3F, 0.2F, kNan, kNan};
    window.rank = {2, 1, 4, 1, 9, 2, 0, 0, 2, 3, 0, 0};
    window.log_change = {-0.7F, 0.0F, -1.4F, 0.0F,  -200.0F, -0.7F,  //
                         kNan,  kNan, -0.3F, -0.7F, kNan,    kNan};
    return window;
  }
};

TEST_F(Interventions, CurvesAreTheMeansOfTheRows) {
  const CellNames& names = intervention_names();
  write({arrays_of(names, axes()), arrays_of(names, axes(), window())});
  const Study studied = study({folder_});
  EXPECT_EQ(studied.window, 3);
  ASSERT_EQ(studied.intervention_curves.size(), 2U);
  const Curve& zero = studied.intervention_curves[0];
  EXPECT_EQ(zero.edge.label, "s(subject) = zero");
  ASSERT_EQ(zero.points.size(), 2U);
  EXPECT_EQ(zero.points[0].n, 3U);
  // Of 0.5, 0.4 and 0.2: 0.25, 0.1 and 0.
  EXPECT_NEAR(zero.points[0].change, (-50.0 - 75.0 - 100.0) / 3, 1e-5);
  EXPECT_NEAR(zero.points[1].change, (0.0 + 0.0 - 50.0) / 3, 1e-5);
  EXPECT_NEAR(zero.points[1].depth, 0.25, 1e-12);
  EXPECT_NEAR(zero.points[1].accuracy, 200.0 / 3, 1e-9);
  // Where p is too small for a float the stored log change is not.
  EXPECT_NEAR(zero.points[0].log_change, (-0.7 - 1.4 - 200) / 3, 1e-5);
  const Curve& context = studied.intervention_curves[1];
  EXPECT_EQ(context.edge.display(), "context \u2192 last");
  EXPECT_EQ(context.points[0].n, 1U);  // the others have no context
  EXPECT_NEAR(context.points[1].change, -50, 1e-5);

  ASSERT_EQ(studied.main_interventions.size(), 2U);
  const EdgeEffect& effect = studied.main_interventions[0];
  EXPECT_EQ(effect.fewest_touched, 1);
  EXPECT_EQ(effect.most_touched, 5);
  EXPECT_EQ(effect.untouched, 0U);
  EXPECT_NEAR(effect.lowest.value, -75, 1e-5);
  EXPECT_EQ(effect.start.value, 0);
  EXPECT_EQ(studied.main_interventions[1].untouched, 2U);
}

TEST_F(Interventions, WithoutAStoredLogChangeItFollowsFromTheProbabilities) {
  const CellNames& names = intervention_names();
  CellWindow without = window();
  without.log_change.clear();
  write({arrays_of(names, axes()), arrays_of(names, axes(), without)});
  EXPECT_NEAR(study({folder_}).intervention_curves[1].points[1].log_change, std::log(0.5), 1e-6);
}

TEST_F(Interventions, HaveNoPartInFindingsClaimsOrComparisons) {
  const Study with = study({run("with", small())});
  SyntheticOptions options = small();
  options.rows.clear();
  options.map_rows.clear();
  const Study without = study({run("without", options)});
  EXPECT_FALSE(with.intervention_curves.empty());
  EXPECT_TRUE(without.intervention_curves.empty());
  for (const EdgeEffect& effect : with.main_effects)
    EXPECT_THAT(effect.edge.label, Not(HasSubstr("zero")));
  EXPECT_EQ(with.main_effects.size(), without.main_effects.size());
  EXPECT_EQ(with.main_effects[0].lowest.value, without.main_effects[0].lowest.value);
  EXPECT_EQ(with.main_effects[0].tests, without.main_effects[0].tests);
  EXPECT_EQ(with.curves.size(), without.curves.size());
  EXPECT_EQ(with.paired.size(), without.paired.size());
  EXPECT_EQ(with.claims.size(), without.claims.size());
}

TEST_F(Interventions, FiguresTablesAndTheReportShowThem) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  const auto folder = run("both", small());
  AnalysisOptions options = quick();
  options.study.window = 3;
  const AnalysisSummary summary = analyse(folder, options);
  EXPECT_EQ(summary.problem, "");
  for (const char* stem : {"models", "intervene_gpt2", "intervene_mamba", "intervene_sizes_mamba",
                           "intervene_map_100_h_each_zero", "heatmap_100",
                           "intervene_map_107_each_last_through_convolution"})
    for (const char* ending : {".svg", ".pdf", ".png", "_column.pdf"})
      EXPECT_TRUE(std::filesystem::exists(folder / "figures" / (std::string(stem) + ending)))
          << stem;
  const std::string rows = text("both/figures/intervene_mamba.svg");
  EXPECT_THAT(rows, HasSubstr("mamba, window of 3 layers"));
  EXPECT_THAT(rows, HasSubstr("subject \u2192 last through convolution"));
  EXPECT_THAT(rows, HasSubstr("h(subject) + noise 0.1"));
  EXPECT_THAT(rows, HasSubstr("n = 24"));
  EXPECT_THAT(text("both/figures/intervene_map_100_h_each_zero.svg"),
              HasSubstr("h(each) = zero; prompt 100"));
  EXPECT_THAT(text("both/figures/models.svg"), Not(HasSubstr("noise")));
  EXPECT_THAT(text("both/figures/edges_mamba.svg"), Not(HasSubstr("zero")));
  const std::string curves = text("both/tables/interventions.csv");
  EXPECT_THAT(curves,
              testing::StartsWith("model,family,layers,row,prompts,window,placement,start,"));
  EXPECT_THAT(curves, HasSubstr("mamba,mamba,12,s(subject) = zero,selected,3,fit,"));
  EXPECT_THAT(text("both/tables/intervention_effects.csv"),
              HasSubstr("mamba,mamba,12,\"subject->last through state, slow channels\",selected,3,"
                        "fit,1,4,0,"));
  EXPECT_THAT(text("both/tables/curves.csv"), Not(HasSubstr("zero")));
  const std::string page = text("both/report.html");
  for (const char* words :
       {"<section id=\"interventions\">", "<a href=\"#interventions\">",
        "mixer(last) = mean of all", "figures/intervene_mamba.pdf",
        "A prompt without anything to touch", "1 to 4", "tables/interventions.csv",
        "; interventions on 24 of 24 selected prompts"})
    EXPECT_THAT(page, HasSubstr(words));
  EXPECT_THAT(summary.findings, HasSubstr("Interventions, no part of the findings and claims"));
  EXPECT_THAT(summary.findings, HasSubstr("mamba  s(subject) = zero"));
}

TEST_F(Interventions, ARunOfThemAloneIsAnalysed) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  const auto folder = run("rows", rows_only());
  const AnalysisSummary summary = analyse(folder, quick());
  EXPECT_EQ(summary.problem, "");
  EXPECT_THAT(summary.findings, HasSubstr("No knockouts in these results."));
  EXPECT_THAT(summary.findings, HasSubstr("h(subject) + noise 0.1"));
  EXPECT_TRUE(std::filesystem::exists(folder / "figures" / "intervene_gpt2.pdf"));
  EXPECT_FALSE(std::filesystem::exists(folder / "figures" / "models.pdf"));
  const std::string page = text("rows/report.html");
  EXPECT_THAT(page, HasSubstr("<section id=\"interventions\">"));
  EXPECT_THAT(page, HasSubstr("Apache ECharts"));
  EXPECT_THAT(page, Not(HasSubstr("<section id=\"figures\">")));
}

TEST_F(Interventions, TheWindowMayBeAnyOfTheirsWhereNothingWasSwept) {
  const auto folder = run("rows", rows_only());
  StudyOptions options;
  options.window = 1;
  for (const EdgeEffect& effect : study({folder}, options).main_interventions)
    EXPECT_EQ(effect.window, 1);
  options.window = 2;
  try {
    study({folder}, options);
    ADD_FAILURE();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(),
                HasSubstr("of this size for the main set of prompts; there are 1, 3"));
  }
}

TEST_F(Interventions, LimitsOfTheCleanProbabilityHoldForThem) {
  const auto folder = run("rows", rows_only());
  StudyOptions options;
  options.p_clean = {0.4, 0.8};
  const Study some = study({folder}, options);
  EXPECT_EQ(some.kept.size(), 2U);
  EXPECT_LT(some.main_interventions[0].n, study({folder}).main_interventions[0].n);
  EXPECT_GT(some.main_interventions[0].n, 0U);
}

TEST_F(Interventions, SetsOfPromptsAreKeptApart) {
  SyntheticOptions options = small();
  options.models.push_back({"mamba2", "mamba2", 8, 1e8});
  options.named_sets = true;
  const Study studied = study({run("sets", options)});
  std::size_t half = 0, own = 0;
  for (const EdgeEffect& effect : studied.main_interventions) {
    EXPECT_EQ(effect.main_set, effect.prompts == "half");
    ++(effect.main_set ? half : own);
  }
  EXPECT_EQ(half, 2 * options.rows.size());
  EXPECT_EQ(own, 3 * (options.rows.size() - 1));  // the last row was not asked of this set
  FigureSet figures = make_figures(studied, {});
  std::vector<std::string> stems;
  for (const Figure& figure : figures.figures) stems.push_back(figure.plots[0].stem);
  for (const char* stem : {"intervene_gpt2", "intervene_gpt2_own", "intervene_mamba2_own"})
    EXPECT_THAT(stems, testing::Contains(stem));
  EXPECT_THAT(stems, Not(testing::Contains("intervene_mamba2")));
}

TEST_F(Interventions, WhatIsLeftOutOfFiguresIsSaid) {
  const CellNames& names = intervention_names();
  CellAxes nothing = axes();
  nothing.blocked = {1, 2, 5, 0, 0, 0};
  CellWindow cells = window();
  for (std::size_t i = 6; i < 12; ++i) {
    cells.probability[i] = cells.log_change[i] = kNan;
    cells.rank[i] = 0;
  }
  write({arrays_of(names, nothing), arrays_of(names, nothing, cells)});
  const Study untouched = study({folder_});
  EXPECT_EQ(untouched.main_interventions[1].missing, "no prompt has anything to touch");
  EXPECT_THAT(make_figures(untouched, {}).omitted,
              ElementsAre("intervene_tiny lacks a row without a value at windows of 3 layers: "
                          "context \u2192 last."));

  const Study studied = study({run("many", small())});
  FigureOptions options;
  options.models = 1;
  options.heatmap_prompts = 1;
  const FigureSet figures = make_figures(studied, options);
  EXPECT_THAT(figures.omitted,
              testing::Contains("Figures of interventions are drawn for the first model."));
  EXPECT_THAT(figures.omitted,
              testing::Contains("Maps of h(each) = zero: 1 of 2 prompts are drawn."));
}

TEST_F(Interventions, MissingAndFailedCellsAreCounted) {
  SyntheticOptions options = rows_only();
  options.complete = false;
  options.failed_share = 0;
  const Study studied = study({run("partial", options)});
  ASSERT_EQ(studied.run.interventions.size(), 2U);
  EXPECT_EQ(coverage_in_words(studied.run.interventions[1], studied.run),
            "interventions on 12 of 24 selected prompts, 12 not computed yet");
  const std::vector<std::string> gaps = coverage_gaps(studied);
  ASSERT_EQ(gaps.size(), 2U);
  EXPECT_THAT(gaps[0], HasSubstr("mamba: interventions on 12 of 24"));
  EXPECT_THAT(gaps[1], HasSubstr("pairs have nothing to touch"));
  CellAxes failed = studied.run.interventions[0].axes;
  std::fill(failed.blocked.begin(), failed.blocked.end(), kFailedPrompt);
  EXPECT_EQ(coverage_of(failed).failed, 24U);
}

TEST_F(Interventions, DifferencesBetweenRunsAreNamed) {
  SyntheticOptions options = rows_only();
  const auto first = run("a", options);
  options.seed = 2;
  EXPECT_THAT(differences_between_runs(study({first, run("b", options)}).run), IsEmpty());
  options.seed = 3;
  options.rows.erase(options.rows.begin());
  options.map_rows.push_back("x(each) = zero");
  options.windows = {1};
  const std::vector<std::string> lines =
      differences_between_runs(study({first, run("c", options)}).run);
  EXPECT_THAT(lines,
              ElementsAre("The runs differ in rows of interventions: 'subject->last' (synthetic), "
                          "'x(each) = zero' (synthetic-2).",
                          "The runs differ in the windows of interventions: 1 and 3 (synthetic), 1 "
                          "(synthetic-2)."));
}

TEST_F(Interventions, RunsOfThemAreCompared) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  SyntheticOptions options = rows_only();
  const auto first = run("a", options);
  options.seed = 2;
  const AnalysisSummary summary = compare({first, run("b", options)}, folder_ / "both", quick());
  EXPECT_EQ(summary.problem, "");
  EXPECT_THAT(text("both/tables/interventions.csv"), HasSubstr("synthetic-2/mamba,"));
  EXPECT_THAT(text("both/figures/intervene_map_100_h_each_zero.svg"),
              HasSubstr("synthetic-2/mamba"));
}

TEST_F(Interventions, DamageIsOneClearLine) {
  const CellNames& names = intervention_names();
  const auto message = [&](const std::vector<ArrayGroup>& groups) {
    write(groups);
    try {
      analyse(folder_, quick());
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  CellWindow ranks = window();
  ranks.rank[0] = 0;
  EXPECT_THAT(message({arrays_of(names, axes()), arrays_of(names, axes(), ranks)}),
              testing::AllOf(HasSubstr("intervention/window_3"), HasSubstr("expected ranks")));
  CellAxes twice = axes();
  twice.items[1] = twice.items[0];
  EXPECT_THAT(message({arrays_of(names, twice), arrays_of(names, twice, window())}),
              testing::AllOf(HasSubstr("intervention"), HasSubstr("differ from each other")));
  CellWindow large = window();
  large.probability[1] = 1.5F;
  EXPECT_THAT(message({arrays_of(names, axes()), arrays_of(names, axes(), large)}),
              testing::AllOf(HasSubstr("intervention/window_3"), HasSubstr("probability")));
  const HeatmapResult map{3, "fit", 1, {"one", " is"}, {0, 1}, {0.1F, 0.2F, 0.3F, 0.4F}};
  EXPECT_THAT(message(arrays_of(std::vector<HeatmapResult>{map}, intervention_map_names(0, ""))),
              testing::AllOf(HasSubstr("intervention_map_0"), HasSubstr("row")));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "report.html"));
}

}  // namespace
}  // namespace factflow
