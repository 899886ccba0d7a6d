// Severed paths in the analysis: means and errors by hand, facts that are left out, figures,
// tables, findings and the section of the report, comparisons, and damage.
#include "analysis/severings.hpp"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "analysis/analyse.hpp"
#include "analysis/figures.hpp"
#include "analysis/findings.hpp"
#include "analysis/load_runs.hpp"
#include "analysis/severing_report.hpp"
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

class Severings : public StudyTest {
 protected:
  // A model of two layers and five prompts, of which the first two say one fact.
  void write(const std::vector<ArrayGroup>& groups) const {
    PromptTable prompts;
    prompts.id = {1, 2, 3, 4, 5};
    prompts.text = {"a", "b", "c", "d", "e"};
    prompts.subject = {"one", "one", "three", "four", "five"};
    prompts.answer = prompts.relation = std::vector<std::string>(5, "x");
    ResultsWriter writer(folder_ / "results.h5", RunInfo{}, prompts);
    writer.begin_model({"tiny", "mamba", "", 2, 8, 100, 1000, "", ""});
    EvaluationResult clean;
    clean.prompt = prompts.id;
    clean.probability = {0.75F, 0.75F, 0.75F, 0.5F, 0.9F};
    clean.rank = clean.answer_token = std::vector<std::int32_t>(5, 1);
    clean.token_count = std::vector<std::int32_t>(5, 4);
    clean.answer_text = prompts.answer;
    clean.changes = clean.tied = std::vector<std::int32_t>(5, 0);
    clean.subject_begin = std::vector<std::int32_t>(5, 0);
    clean.subject_end = std::vector<std::int32_t>(5, 1);
    clean.top = 0;
    writer.write(arrays_of(clean));
    for (const ArrayGroup& group : groups) writer.write(group);
    writer.publish({});
  }
  // The fourth's other subject is nearly as good; the fifth failed.
  static TracedFacts facts() {
    return {{1, 2, 3, 4, 5},
            {"a", "b", "c", "d", ""},
            {0.75F, 0.75F, 0.75F, 0.5F, kNan},
            {0.25F, 0.25F, 0.25F, 0.46875F, kNan},
            {0, 0, 0, 0, -1},
            {1, 1, 1, 1, -1},
            {4, 4, 4, 4, 0}};
  }
  static SeveredPaths paths() {
    SeveredPaths paths;
    paths.at = {"subject-last"};
    paths.severed = {"none", "o"};
    paths.prompts = {1, 2, 3, 4, 5};
    paths.layers = {0, 1, 2};
    paths.probability = {0.5F,  0.75F, 0.25F, 0.25F, 0.75F, 0.25F, 0.75F, 0.875F,
                         0.25F, 0.5F,  0.5F,  0.5F,  kNan,  kNan,  kNan,  //
                         0.25F, 0.5F,  0.25F, 0.25F, 0.5F,  0.25F, 0.25F, 0.125F,
                         0.25F, 0.5F,  0.5F,  0.5F,  kNan,  kNan,  kNan};
    for (const float p : paths.probability) {
      paths.rank.push_back(std::isnan(p) ? 0 : 1);
      paths.log_change.push_back(p);
    }
    return paths;
  }
  static SyntheticOptions small() {
    SyntheticOptions options = two_models(24);
    options.knockouts = false;
    options.severed = 18;
    return options;
  }
};

TEST_F(Severings, MeansAndErrorsAreThoseByHand) {
  write(arrays_of(facts(), paths()));
  const Study studied = study();
  ASSERT_EQ(studied.severings.size(), 1U);
  const ModelSevering& severing = studied.severings[0];
  EXPECT_THAT(severing.patched, ElementsAre(0, 1, 2));
  ASSERT_EQ(severing.curves.size(), 2U);
  // Effects 0.5, 0, 1 of the facts 1, 1, 3: mean 0.5, cluster sums -0.5 and 0.5.
  const SeveredPoint& first = severing.curve("subject-last", "none")->points[0];
  EXPECT_EQ(first.n, 3U);
  EXPECT_EQ(first.facts, 2U);
  EXPECT_DOUBLE_EQ(first.effect, 0.5);
  EXPECT_DOUBLE_EQ(first.error, std::sqrt(0.5 * 2) / 3);
  EXPECT_TRUE(std::isnan(first.interval.low));  // two facts give no interval
  // 1, 1 and 1.25: beyond 1 is not cut.
  EXPECT_DOUBLE_EQ(severing.curve("subject-last", "none")->points[1].effect, 3.25 / 3);
  EXPECT_DOUBLE_EQ(severing.curve("subject-last", "o")->points[1].effect, 0.75 / 3);
  EXPECT_DOUBLE_EQ(severing.curve("subject-last", "o")->points[2].effect, 0);
  EXPECT_EQ(severing.curve("prompt-last", "o"), nullptr);
}

TEST_F(Severings, FactsThatAreLeftOutAreCounted) {
  write(arrays_of(facts(), paths()));
  EXPECT_THAT(severing_counts(study()),
              ElementsAre("tiny: severed paths of 3 of 5 prompts; left out: 1 without a value, 1 "
                          "with high - low < 0.05."));
  EXPECT_THAT(gaps(study()), Contains(HasSubstr("tiny: severed paths of 3 of 5")));
  StudyOptions options;
  options.p_clean = {0.6, 1};
  EXPECT_THAT(gaps(study(options)), Contains(HasSubstr("tiny 3 of 4 with severed paths")));
  options.p_clean = {0.76, 1};
  EXPECT_THROW(study(options), InputError);
}

TEST_F(Severings, WithoutAnyFactToAverageNothingIsDrawn) {
  TracedFacts failed = facts();
  failed.high = failed.low = std::vector<float>(5, kNan);
  write(arrays_of(failed, paths()));
  const FigureSet figures = make_figures(study(), {});
  EXPECT_THAT(figures.figures, IsEmpty());
  EXPECT_THAT(figures.omitted, Contains(HasSubstr("sever_tiny is not drawn")));
  EXPECT_THAT(severing_rows(study()), IsEmpty());
}

// What was not asked for is no curve.
TEST_F(Severings, WithoutAnyValueThereIsNoCurve) {
  SeveredPaths some = paths();
  std::fill(some.probability.begin() + 15, some.probability.end(), kNan);
  std::fill(some.rank.begin() + 15, some.rank.end(), 0);
  write(arrays_of(facts(), some));
  EXPECT_EQ(study().severings[0].curves.size(), 1U);
}

TEST_F(Severings, HaveFiguresTablesFindingsAndASection) {
  if (std::system("gnuplot --version > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "gnuplot is not installed";
  const auto folder = run("all", small());
  const AnalysisSummary summary = analyse(folder, quick());
  EXPECT_EQ(summary.problem, "");
  for (const char* stem : {"sever_gpt2", "sever_mamba"})
    for (const char* ending : {".svg", ".pdf", ".png", "_column.pdf"})
      EXPECT_TRUE(std::filesystem::exists(folder / "figures" / (std::string(stem) + ending)))
          << stem << ending;
  EXPECT_THAT(text("all/figures/sever_mamba.svg"),
              AllOf(HasSubstr("patch of h alone"), HasSubstr("g severed")));
  EXPECT_THAT(text("all/tables/severings.csv"),
              AllOf(testing::StartsWith("model,family,layers,at,severed,layer,published_layer,n,"),
                    HasSubstr("mamba,mamba,12,prompt-last,g,12,11,13,")));
  EXPECT_THAT(text("all/tables/severing_facts.csv"), HasSubstr(",0,with high - low < 0.05"));
  EXPECT_THAT(summary.findings,
              AllOf(HasSubstr("Severed paths, no part of the findings and claims"),
                    HasSubstr("prompt's last token, o+mlp severed")));
  const std::string page = text("all/report.html");
  for (const char* words :
       {"<section id=\"severings\">", "<a href=\"#severings\">", "tables/severings.csv",
        "figures/sever_mamba.pdf", "<polyline", "<polygon", "values above 1 are not cut"})
    EXPECT_THAT(page, HasSubstr(words));
  EXPECT_THAT(page, Not(HasSubstr("<section id=\"traces\">")));
}

TEST_F(Severings, OfSeveralRunsAreComparedByWhatIsSevered) {
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
  EXPECT_THAT(both.findings, HasSubstr("The runs differ in what is severed: 'mlp at prompt-last'"));
  EXPECT_THAT(text("ab/tables/severings.csv"), HasSubstr("synthetic-2/mamba,mamba,12,"));
}

TEST_F(Severings, DamageIsOneClearLine) {
  const auto message = [&](const TracedFacts& of, const SeveredPaths& stored) {
    write(arrays_of(of, stored));
    try {
      analyse(folder_, quick());
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  SeveredPaths wrong = paths();
  wrong.probability[0] = 1.5F;
  EXPECT_THAT(message(facts(), wrong),
              AllOf(HasSubstr("tiny/sever/paths"), HasSubstr("probabilities")));
  wrong = paths();
  wrong.layers[2] = 3;
  EXPECT_THAT(message(facts(), wrong), HasSubstr("expected ascending layers up to 2"));
  wrong = paths();
  wrong.prompts[0] = 2;
  wrong.prompts[1] = 1;
  EXPECT_THAT(message(facts(), wrong), HasSubstr("expected the prompts of the group above"));
  wrong = paths();
  wrong.rank[0] = 0;
  EXPECT_THAT(message(facts(), wrong), HasSubstr("sever/paths/rank"));
  wrong = paths();
  wrong.severed = {"o", "o"};
  EXPECT_THAT(message(facts(), wrong), HasSubstr("sever/paths/severed"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "report.html"));
}

}  // namespace
}  // namespace factflow
