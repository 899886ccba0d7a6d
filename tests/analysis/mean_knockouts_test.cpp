// Knockouts by means in the analysis: means and errors by hand, prompts without a number, figures,
// tables, findings and the section of the report, comparisons, and damage.
#include "analysis/mean_knockouts.hpp"

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
#include "analysis/mean_knockout_report.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "experiments/evaluate/evaluation_arrays.hpp"
#include "experiments/mean_knockout/mean_knockout_arrays.hpp"
#include "tests/analysis/study_test.hpp"

namespace factflow {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class MeanKnockouts : public StudyTest {
 protected:
  // A model of two layers and four prompts, of which the first two say one fact.
  void write(const CellAxes& axes, const CellWindow& window) const {
    PromptTable prompts;
    prompts.id = {1, 2, 3, 4};
    prompts.text = {"a", "b", "c", "d"};
    prompts.subject = {"one", "one", "three", "four"};
    prompts.answer = prompts.relation = std::vector<std::string>(4, "x");
    EvaluationResult clean;
    clean.prompt = prompts.id;
    clean.probability = {0.75F, 0.75F, 0.5F, 0.5F};
    clean.rank = clean.answer_token = std::vector<std::int32_t>(4, 1);
    clean.token_count = std::vector<std::int32_t>(4, 4);
    clean.answer_text = prompts.answer;
    clean.changes = clean.tied = std::vector<std::int32_t>(4, 0);
    clean.subject_begin = std::vector<std::int32_t>(4, 0);
    clean.subject_end = std::vector<std::int32_t>(4, 1);
    clean.top = 0;
    ResultsWriter writer(folder_ / "results.h5", RunInfo{}, prompts);
    writer.begin_model({"tiny", "mamba", "", 2, 8, 100, 1000, "", ""});
    writer.write(arrays_of(clean));
    writer.write(arrays_of(axes, MeanReferences{{1, 3}, 9}));
    writer.write(arrays_of(mean_knockout_names(), axes, window));
    writer.publish({});
  }
  // The fourth prompt failed, the third has no other tokens.
  static CellAxes axes() {
    CellAxes axes;
    axes.items = {"mean-a subject", "edges non-subject"};
    axes.prompts = {1, 2, 3, 4};
    axes.blocked = {1, 1, 1, kFailedPrompt, 2, 2, 0, kFailedPrompt};
    return axes;
  }
  static CellWindow window() {
    CellWindow window{1, "centred", {0, 1}, {}, {}};
    const auto ln = [](double x) { return static_cast<float>(std::log(x)); };
    window.log_change = {ln(0.5), ln(1), ln(1), ln(1.5), ln(0.25), ln(1), kNan, kNan,
                         ln(0.5), ln(1), ln(1), ln(1),   kNan,     kNan,  kNan, kNan};
    for (const float change : window.log_change) {
      window.probability.push_back(std::isnan(change) ? kNan : 0.5F);
      window.rank.push_back(std::isnan(change) ? 0 : 1);
    }
    return window;
  }
  static SyntheticOptions small() {
    SyntheticOptions options = two_models(24);
    options.knockouts = false;
    options.mean_knocked = 18;
    return options;
  }
};

TEST_F(MeanKnockouts, MeansAndErrorsAreThoseByHand) {
  write(axes(), window());
  const Study studied = study();
  ASSERT_EQ(studied.mean_knockouts.size(), 1U);
  const ModelMeanKnockouts& knockouts = studied.mean_knockouts[0];
  EXPECT_EQ(knockouts.reference_prompts, 2);
  EXPECT_EQ(knockouts.reference_tokens, 9);
  ASSERT_EQ(knockouts.curves.size(), 2U);
  EXPECT_EQ(knockouts.curves[0].mode, "mean-a");
  EXPECT_EQ(knockouts.curves[1].set, "non-subject");
  // -0.5, 0 and -0.75 of the facts 1, 1, 3: mean -1.25 / 3, cluster sums 1 / 3 and -1 / 3.
  const MeanKnockoutPoint& first = knockouts.curves[0].points[0];
  EXPECT_EQ(first.n, 3U);
  EXPECT_EQ(first.facts, 2U);
  EXPECT_NEAR(first.change, -1.25 / 3, 1e-7);
  EXPECT_NEAR(first.error, std::sqrt(2.0 / 9 * 2) / 3, 1e-7);
  EXPECT_NEAR(knockouts.curves[0].points[1].change, 0.5 / 3, 1e-7);
  EXPECT_EQ(knockouts.curves[1].points[0].n, 2U);
  EXPECT_NEAR(knockouts.curves[1].points[0].change, -0.25, 1e-7);
  EXPECT_TRUE(std::isnan(knockouts.curves[1].points[0].error));  // one fact
}

TEST_F(MeanKnockouts, PromptsThatAreLeftOutAreCounted) {
  write(axes(), window());
  EXPECT_THAT(mean_knockout_counts(study()),
              ElementsAre("tiny: knockouts by means of 3 of 4 prompts; left out: 1 without a "
                          "value."));
  EXPECT_THAT(gaps(study()), Contains(HasSubstr("tiny: knockouts by means of 3 of 4")));
  StudyOptions options;
  options.p_clean = {0.6, 1};
  const Study limited = study(options);
  EXPECT_EQ(limited.mean_knockouts[0].outside, 1U);
  EXPECT_EQ(limited.mean_knockouts[0].curves[0].points[0].n, 2U);
  EXPECT_THAT(gaps(limited), Contains(HasSubstr("tiny 2 of 3 with knockouts by means")));
  options.p_clean = {0.76, 1};
  EXPECT_THROW(study(options), InputError);
}

TEST_F(MeanKnockouts, HaveFiguresTablesFindingsAndASection) {
  if (std::system("gnuplot --version > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "gnuplot is not installed";
  const auto folder = run("all", small());
  const AnalysisSummary summary = analyse(folder, quick());
  EXPECT_EQ(summary.problem, "");
  for (const char* stem : {"mean_knockout_gpt2", "mean_knockout_mamba"})
    for (const char* ending : {".svg", ".pdf", ".png", "_column.pdf"})
      EXPECT_TRUE(std::filesystem::exists(folder / "figures" / (std::string(stem) + ending)))
          << stem << ending;
  EXPECT_THAT(text("all/figures/mean_knockout_mamba.svg"),
              AllOf(HasSubstr("two-stream-a"), HasSubstr("non-subject")));
  EXPECT_THAT(text("all/tables/mean_knockouts.csv"),
              AllOf(testing::StartsWith("model,family,layers,mode,set,window,centre,n,"),
                    HasSubstr("mamba,mamba,12,two-stream-a,subject,3,11,16,")));
  EXPECT_THAT(summary.findings,
              AllOf(HasSubstr("Knockouts by means, no part of the findings and claims"),
                    HasSubstr("edges, prompt-last")));
  const std::string page = text("all/report.html");
  for (const char* words : {"<section id=\"mean-knockouts\">", "<a href=\"#mean-knockouts\">",
                            "tables/mean_knockouts.csv", "figures/mean_knockout_mamba.pdf",
                            "<polyline", "<polygon", "Means are of 2 prompts (17 tokens)"})
    EXPECT_THAT(page, HasSubstr(words));
}

// Their windows are centred, whatever those of knockouts are.
TEST_F(MeanKnockouts, OfSeveralRunsAreComparedByWhatIsKnockedOut) {
  if (std::system("gnuplot --version > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "gnuplot is not installed";
  SyntheticOptions options = small();
  options.models.resize(1);
  const auto first = run("a", options);
  options.models[0] = {"mamba", "mamba", 12, 1e8};
  options.seed = 2;
  options.first_id = 107;
  options.knockouts = true;
  options.windows = {3};
  options.edges = {"subject->last"};
  const AnalysisSummary both = compare({first, run("b", options)}, folder_ / "ab", quick());
  EXPECT_EQ(both.problem, "");
  EXPECT_THAT(both.findings, HasSubstr("The runs differ in knockouts by means: none of these"));
  EXPECT_THAT(text("ab/tables/mean_knockouts.csv"), HasSubstr("synthetic-2/mamba,mamba,12,"));
}

TEST_F(MeanKnockouts, DamageIsOneClearLine) {
  const auto message = [&](const CellAxes& of, const CellWindow& cells) {
    write(of, cells);
    try {
      analyse(folder_, quick());
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  CellWindow wrong = window();
  wrong.probability[0] = 1.5F;
  EXPECT_THAT(message(axes(), wrong),
              AllOf(HasSubstr("mean_knockout/window_1"), HasSubstr("probabilities")));
  wrong = window();
  wrong.rank[0] = 0;
  EXPECT_THAT(message(axes(), wrong), HasSubstr("mean_knockout/window_1/rank"));
  CellAxes twice = axes();
  twice.items[1] = twice.items[0];
  EXPECT_THAT(message(twice, window()), HasSubstr("mean_knockout/knockout"));
  wrong = window();
  wrong.log_change.clear();
  EXPECT_THAT(message(axes(), wrong), HasSubstr("log_change"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "report.html"));
}

}  // namespace
}  // namespace factflow
