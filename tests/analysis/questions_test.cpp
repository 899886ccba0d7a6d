// The questions beyond the paper in the analysis: numbers by hand, verdicts, and their figures,
// tables and sections of the report.
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "analysis/analyse.hpp"
#include "analysis/beyond_questions_report.hpp"
#include "analysis/load_runs.hpp"
#include "base/files.hpp"
#include "experiments/answers/answers_arrays.hpp"
#include "experiments/evaluate/evaluation_arrays.hpp"
#include "experiments/intervene/intervention_arrays.hpp"
#include "experiments/position/position_arrays.hpp"
#include "experiments/surge/surge_arrays.hpp"
#include "tests/analysis/study_test.hpp"

namespace factflow {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr std::size_t kPrompts = 12;  // each of a fact of its own: enough to decide claims
constexpr std::int64_t kLayers = 4;

class Questions : public StudyTest {
 protected:
  void SetUp() override {
    StudyTest::SetUp();
    for (std::size_t i = 0; i < kPrompts; ++i) ids_.push_back(static_cast<std::int64_t>(i));
  }

  void write(const std::vector<ArrayGroup>& groups) const {
    PromptTable prompts;
    EvaluationResult clean;
    for (const std::int64_t id : ids_) {
      prompts.id.push_back(id);
      prompts.text.push_back("text " + std::to_string(id));
      prompts.subject.push_back("subject " + std::to_string(id));
      prompts.answer.emplace_back(" x");
      prompts.relation.emplace_back("r");
    }
    clean.prompt = ids_;
    clean.probability.assign(kPrompts, 0.5F);
    clean.rank.assign(kPrompts, 1);
    clean.answer_token = clean.token_count = std::vector<std::int32_t>(kPrompts, 3);
    clean.answer_text = prompts.answer;
    clean.changes = clean.subject_begin = clean.tied = std::vector<std::int32_t>(kPrompts, 0);
    clean.subject_end.assign(kPrompts, 1);
    clean.top = 0;
    ResultsWriter writer(folder_ / "results.h5", RunInfo{}, prompts);
    writer.begin_model({"tiny", "mamba", "", kLayers, 8, 100, 1000, "", ""});
    writer.write(arrays_of(clean));
    for (const ArrayGroup& group : groups) writer.write(group);
    writer.publish({});
  }
  Study study() {
    readers_.emplace_back(folder_ / "results.h5");
    StudyOptions options;
    options.bootstrap.resamples = 200;
    return make_study(load_runs({&readers_.back()}), options);
  }
  // Cells of items [item][start], alike in all prompts but for a little that sums to 0.
  std::vector<ArrayGroup> cells(const CellNames& names, const std::vector<std::string>& items,
                                const std::vector<std::vector<double>>& log_changes) const {
    const CellAxes axes = axes_of(items);
    return {arrays_of(names, axes), arrays_of(names, axes, window_of(items, log_changes))};
  }
  CellAxes axes_of(const std::vector<std::string>& items) const {
    CellAxes axes;
    axes.items = items;
    axes.prompts = ids_;
    axes.blocked.assign(items.size() * kPrompts, 1);
    return axes;
  }
  static CellWindow window_of(const std::vector<std::string>& items,
                              const std::vector<std::vector<double>>& log_changes) {
    CellWindow window{3, "fit", {0, 1}, {}, {}};
    for (std::size_t item = 0; item < items.size(); ++item)
      for (std::size_t prompt = 0; prompt < kPrompts; ++prompt)
        for (std::size_t start = 0; start < 2; ++start) {
          const double wobble = prompt % 2 == 0 ? 0.001 : -0.001;
          const double change = log_changes[item][start] + wobble * static_cast<double>(item + 1);
          window.log_change.push_back(static_cast<float>(change));
          window.probability.push_back(static_cast<float>(0.5 * std::exp(change)));
          window.rank.push_back(1);
        }
    return window;
  }
  static const Claim& claim(const Study& study, const std::string& words) {
    for (const Claim& claim : study.claims)
      if (claim.text.find(words) != std::string::npos) return claim;
    throw std::out_of_range(words);
  }

  std::vector<std::int64_t> ids_;
};

TEST(RowParts, AreSplitAtTheirAnd) {
  EXPECT_THAT(parts_of_row("subject->last"), ElementsAre("subject->last"));
  EXPECT_THAT(parts_of_row("a->b & c->d & e"), ElementsAre("a->b", "c->d", "e"));
}

TEST(MeasuredNumbers, AreMeansAndRatiosOverFacts) {
  const std::vector<double> values = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11};
  std::vector<std::size_t> facts;
  for (std::size_t i = 0; i < values.size(); ++i) facts.push_back(i);
  facts.back() = 10;  // the last two say one fact
  const BootstrapOptions options{400, 1, 0.95};
  const Measured mean = measured_mean(values, facts, options);
  EXPECT_NEAR(mean.value, 77.0 / 12, 1e-12);
  EXPECT_EQ(mean.facts, 11U);
  EXPECT_LT(mean.interval.low, mean.value);
  EXPECT_GT(mean.interval.high, mean.value);
  // A constant ratio has no width.
  std::vector<double> doubled;
  for (const double value : values) doubled.push_back(2 * value);
  const Measured ratio = measured_ratio(doubled, values, facts, options);
  EXPECT_NEAR(ratio.value, 2, 1e-12);
  EXPECT_NEAR(ratio.interval.low, 2, 1e-12);
  EXPECT_NEAR(ratio.interval.high, 2, 1e-12);
  const Measured few = measured_mean({1, 2}, {0, 1}, options);
  EXPECT_TRUE(std::isnan(few.interval.low));
}

TEST_F(Questions, KnockoutsAreHeldAgainstTheSumOfEachAlone) {
  write(cells(intervention_names(),
              {"subject->last", "first->last", "subject->last & first->last", "a & b"},
              {{-1, -0.2}, {-0.5, -0.1}, {-0.9, -0.3}, {-1, -1}}));
  const Study studied = study();
  ASSERT_EQ(studied.combined.size(), 1U);  // "a & b" has no parts here
  const Combined& c = studied.combined[0];
  EXPECT_THAT(c.parts, ElementsAre("subject->last", "first->last"));
  EXPECT_EQ(c.n, kPrompts);
  EXPECT_EQ(c.strongest, 0U);
  EXPECT_NEAR(c.points[0].sum.value, -1.5, 1e-6);
  EXPECT_NEAR(c.points[0].together.value, -0.9, 1e-6);
  EXPECT_NEAR(c.points[0].interaction.value, 0.6, 1e-6);
  EXPECT_NEAR(c.share.value, 0.4, 1e-6);
  EXPECT_NEAR(c.points[1].interaction.value, 0, 1e-6);
  EXPECT_NEAR(c.points[0].change_together, 100 * std::expm1(-0.9), 0.01);
  const Claim& claimed = claim(studied, "Knockouts add up");
  EXPECT_EQ(claimed.verdict, Verdict::kDoesNotHold);
  EXPECT_THAT(claimed.models[0].reason, HasSubstr("less than the sum"));
}

TEST_F(Questions, KnockoutsThatAddUpHold) {
  write(cells(intervention_names(), {"a->b", "c->d", "a->b & c->d"},
              {{-1, -0.2}, {-0.5, -0.1}, {-1.5, -0.3}}));
  EXPECT_EQ(claim(study(), "Knockouts add up").verdict, Verdict::kHolds);
}

TEST_F(Questions, BaselinesAreReadAtEveryStart) {
  write(cells(intervention_names(),
              {"s(last) = zero", "s(last) = mean", "s(last) = resample", "o(last) = mean"},
              {{-1, -0.4}, {-0.5, 0}, {-1, 0.3}, {0, 0}}));
  const Study studied = study();
  ASSERT_EQ(studied.baselines.size(), 1U);  // o has no zero beside it
  const Baselines& b = studied.baselines[0];
  EXPECT_EQ(b.what, "s(last)");
  ASSERT_EQ(b.curves.size(), 3U);
  EXPECT_EQ(b.curves[0].baseline, "zero");
  EXPECT_THAT(b.curves[1].reading, ElementsAre(Reading::kLowers, Reading::kLittle));
  EXPECT_THAT(b.curves[2].reading, ElementsAre(Reading::kLowers, Reading::kRaises));
  EXPECT_EQ(b.all_decided, 2U);
  ASSERT_EQ(b.disagreements.size(), 3U);  // every pair at the second start
  EXPECT_EQ(b.disagreements[0].start, 1U);
  EXPECT_NEAR(b.disagreements[0].difference.value, 0.4, 1e-6);
  EXPECT_EQ(claim(studied, "does not depend on its baseline").verdict, Verdict::kDoesNotHold);
}

TEST_F(Questions, BaselinesThatAgreeHold) {
  write(cells(intervention_names(), {"s(last) = zero", "s(last) = mean"},
              {{-1, -0.4}, {-0.5, -0.3}}));
  EXPECT_EQ(claim(study(), "does not depend on its baseline").verdict, Verdict::kHolds);
}

TEST_F(Questions, EffectsAreComparedWithThoseWithoutNeutralText) {
  const std::vector<std::string> items = {"subject->last | between 0", "subject->last | between 16",
                                          "subject->last | before 0", "subject->last | before 8"};
  const CellAxes axes = axes_of(items);
  PositionPlaces places;
  places.clean_log_probability.assign(items.size() * kPrompts, -0.5);
  places.clean_rank.assign(items.size() * kPrompts, 1);
  places.subject_at.assign(items.size() * kPrompts, 2);
  for (std::size_t item = 0; item < items.size(); ++item)
    for (std::size_t prompt = 0; prompt < kPrompts; ++prompt)
      places.distance.push_back(item == 1 ? 17 : 1);
  places.neutral.assign(kPrompts * 16, 5);
  places.longest = 16;
  write({arrays_of(axes, places),
         arrays_of(position_names(), axes,
                   window_of(items, {{-0.1, -1}, {-0.1, -0.4}, {-0.1, -1}, {0, -1.02}}))});
  const Study studied = study();
  ASSERT_EQ(studied.positions.size(), 2U);
  const PositionCurve& between = studied.positions[0];
  EXPECT_EQ(between.place, "between");
  EXPECT_EQ(between.start, 1U);
  ASSERT_EQ(between.points.size(), 2U);
  EXPECT_EQ(between.points[1].length, 16);
  EXPECT_NEAR(between.points[1].distance, 17, 1e-12);
  EXPECT_NEAR(between.points[1].effect.value, -0.4, 1e-6);
  EXPECT_NEAR(between.points[1].against_none.value, 0.4, 1e-6);
  EXPECT_NEAR(between.points[1].right, 1, 1e-12);
  const Claim& claimed = claim(studied, "how far the last token is");
  EXPECT_EQ(claimed.verdict, Verdict::kPartly);  // before, it does not
}

TEST_F(Questions, WholeAnswersAreHeldAgainstTheirFirstTokens) {
  const std::vector<std::string> items = {"subject->last | first token",
                                          "subject->last | whole answer"};
  const CellAxes axes = axes_of(items);
  AnswersOfPrompts answers;
  answers.tokens.assign(kPrompts, 3);
  answers.tokens[0] = 1;
  answers.clean_first.assign(kPrompts, -0.5);
  answers.clean_whole.assign(kPrompts, -0.75);
  write({arrays_of(axes, answers),
         arrays_of(answers_names(), axes, window_of(items, {{-1, 0}, {-1.5, 0}}))});
  const Study studied = study();
  ASSERT_EQ(studied.whole_answers.size(), 1U);
  const WholeAnswer& answer = studied.whole_answers[0];
  EXPECT_EQ(answer.n, kPrompts - 1);
  EXPECT_EQ(answer.single, 1U);
  EXPECT_NEAR(answer.first[0].value, -1, 1e-3);
  EXPECT_NEAR(answer.later_share.value, 1.0 / 3, 1e-3);
  EXPECT_EQ(claim(studied, "first token says").verdict, Verdict::kDoesNotHold);
}

// A surge of 0.5, of which the competitor's part is `competitor`.
SurgeResult surge_of(const std::vector<std::int64_t>& ids, double competitor) {
  SurgeResult result;
  result.window = 2;
  result.prompts = ids;
  result.layers = kLayers;
  result.losers = 1;
  result.components = {"embedding", "0 o", "1 o", "2 o", "3 o", "rest"};
  result.status.assign(ids.size(), 1);
  result.status[0] = -2;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    SurgeFinding& f = result.found.emplace_back();
    f.log_probability = {-1, -0.5};
    f.rank = {2, 1};
    f.parts = {0.4 - competitor, competitor, 0.05, 0.05};
    f.scale = {1, 2};
    f.competitor = 7;
    f.competitor_text = " not";
    f.competitor_log = {-0.7, -1.5};
    f.loser = {7};
    f.loser_text = {" not"};
    f.loser_clean = {0.5};
    f.loser_knocked = {0.2};
    f.lost = 0.6;
    f.half_lost = 1;
    f.lens_answer = {-5, -4, -3, -2, -1, -5, -4, -3, -1, -0.5};
    f.lens_competitor = f.lens_answer;
    f.lens_rank.assign(10, 1);
    f.answer_written.assign(12, 1);
    f.answer_written[10] = 1.5;  // layer 3, blocked
    f.competitor_written.assign(12, 1);
    f.weight = {0.6, 0.3, 0.1, 0.4, 0.5, 0.1};
  }
  return result;
}

TEST_F(Questions, TheSurgeIsWhatIsMostOfIt) {
  write({arrays_of(surge_of(ids_, 0.35))});
  const Study studied = study();
  ASSERT_EQ(studied.surges.size(), 1U);
  const Surge& s = studied.surges[0];
  EXPECT_EQ(s.n, kPrompts - 1);
  EXPECT_EQ(s.failed, 1U);
  EXPECT_EQ(s.gaining, kPrompts - 1);
  EXPECT_NEAR(s.change.value, 0.5, 1e-12);
  EXPECT_NEAR(s.shares[kCompetitor].value, 0.7, 1e-12);
  EXPECT_NEAR(s.own_written.value, 0.5, 1e-12);
  EXPECT_NEAR(s.competitor_written.value, 0, 1e-12);
  EXPECT_NEAR(s.scale_ratio.value, std::log(2), 1e-12);
  EXPECT_NEAR(s.lost_to_competitor.value, (std::exp(-0.7) - std::exp(-1.5)) / 0.6, 1e-12);
  EXPECT_NEAR(s.weights[kFromFirst].value, 0.5, 1e-12);
  EXPECT_NEAR(s.written_more[4].value, 0.5, 1e-12);
  ASSERT_EQ(s.losers.size(), 1U);
  EXPECT_EQ(s.losers[0].text, " not");
  EXPECT_NEAR(s.losers[0].loss, 0.3, 1e-12);
  EXPECT_EQ(claim(studied, "surge is removal of the strongest competitor").verdict,
            Verdict::kHolds);
  EXPECT_EQ(claim(studied, "surge is inhibition").verdict, Verdict::kDoesNotHold);
  EXPECT_EQ(claim(studied, "surge is normalisation").verdict, Verdict::kDoesNotHold);
  EXPECT_THAT(surge_in_words(s), HasSubstr("removal of the strongest competitor: +0.70"));
}

TEST_F(Questions, WithoutASurgeNothingIsTold) {
  SurgeResult falling = surge_of(ids_, 0.1);
  for (SurgeFinding& f : falling.found) f.log_probability = {-0.5, -1};
  write({arrays_of(falling)});
  const Study studied = study();
  EXPECT_EQ(claim(studied, "surge is inhibition").verdict, Verdict::kCannotTell);
  EXPECT_THAT(surge_in_words(studied.surges[0]), HasSubstr("there is no surge"));
}

TEST_F(Questions, HaveFiguresTablesClaimsAndSections) {
  if (std::system("gnuplot --version > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "gnuplot is not installed";
  std::vector<ArrayGroup> groups = cells(
      intervention_names(),
      {"a->b", "c->d", "a->b & c->d", "s(last) = zero", "s(last) = mean", "s(last) = resample"},
      {{-1, -0.2}, {-0.5, -0.1}, {-1.4, -0.3}, {-1, -0.4}, {-0.5, 0}, {-1, 0.3}});
  groups.push_back(arrays_of(surge_of(ids_, 0.35)));
  write(groups);
  AnalysisOptions options;
  options.study.bootstrap.resamples = 50;
  const AnalysisSummary summary = analyse(folder_, options);
  EXPECT_EQ(summary.problem, "");
  for (const char* stem : {"combined_tiny", "baselines_tiny", "surge_parts", "surge_tiny_w2"})
    for (const char* ending : {".svg", ".pdf", ".png", "_column.pdf"})
      EXPECT_TRUE(std::filesystem::exists(folder_ / "figures" / (std::string(stem) + ending)))
          << stem << ending;
  const auto text = [&](const char* file) { return read_file(folder_ / file); };
  EXPECT_THAT(text("tables/combined.csv"), HasSubstr("a->b & c->d,0,12,12,"));
  EXPECT_THAT(text("tables/baselines.csv"), HasSubstr("raises,2"));
  EXPECT_THAT(text("tables/surges.csv"), HasSubstr("competitor's part of what is lost"));
  EXPECT_THAT(text("tables/surge_prompts.csv"), HasSubstr("' not' 0.3"));
  EXPECT_THAT(text("report.html"),
              AllOf(HasSubstr("<section id=\"combined\">"), HasSubstr("<section id=\"baselines\">"),
                    HasSubstr("<section id=\"surge\">")));
  EXPECT_THAT(summary.findings,
              AllOf(HasSubstr("Knockouts together"), HasSubstr("The last token's surge")));
}

const BeyondQuestion* question_of(const std::vector<BeyondQuestion>& questions,
                                  const std::string& id) {
  for (const BeyondQuestion& question : questions)
    if (question.id == id) return &question;
  return nullptr;
}

TEST_F(Questions, AreAnsweredAtTheHeadOfTheReport) {
  // State -0.5, with the convolution -1, subject and relation together less than their sum.
  std::vector<ArrayGroup> groups =
      cells(intervention_names(),
            {"subject->last", "subject->last through mixer", "relation-minus-last->last",
             "subject->last & relation-minus-last->last"},
            {{-0.2, -0.5}, {-0.3, -1}, {-0.1, -0.5}, {-0.2, -0.6}});
  groups.push_back(arrays_of(surge_of(ids_, 0.35)));
  write(groups);
  const Study studied = study();
  const std::vector<BeyondQuestion> questions = beyond_questions(studied);
  ASSERT_EQ(questions.size(), 4U);  // nothing was divided by decay
  EXPECT_EQ(question_of(questions, "slow"), nullptr);

  const QuestionAnswer& path = question_of(questions, "path")->models.at(0);
  EXPECT_EQ(path.answer, "state and convolution");
  EXPECT_EQ(path.judged.verdict, Verdict::kDoesNotHold);
  EXPECT_NEAR(path.number.value, 100 * (1 - std::expm1(-0.5) / std::expm1(-1)), 0.1);
  EXPECT_EQ(path.n, kPrompts);
  const QuestionAnswer& depth = question_of(questions, "depth")->models.at(0);
  const Combined& pair = studied.combined.at(0);
  EXPECT_NEAR(depth.number.value, 2.5 / static_cast<double>(pair.layers), 1e-12);
  EXPECT_EQ(depth.answer, fmt::format("layers 1 to 3 of {}", pair.layers));
  const QuestionAnswer& surge = question_of(questions, "surge")->models.at(0);
  EXPECT_EQ(surge.judged.verdict, Verdict::kHolds);
  EXPECT_EQ(surge.answer, surge_in_words(studied.surges.at(0)));
  const QuestionAnswer& sum = question_of(questions, "sum")->models.at(0);
  EXPECT_EQ(sum.answer, "no: they overlap");
  EXPECT_NEAR(sum.number.value, 40, 1);
  EXPECT_EQ(sum.number.value, 100 * pair.share.value);
  EXPECT_EQ(sum.judged.verdict, judge_combination(pair).verdict);

  FigureSet figures;
  const std::string without = beyond_questions_html(questions, figures);
  EXPECT_THAT(without, AllOf(HasSubstr("data-model=\"tiny\""), HasSubstr("href=\"#combined\""),
                             Not(HasSubstr("figures/"))));
  Plot plot;
  plot.stem = "combined_tiny";
  figures.figures.push_back({"", {plot}});
  EXPECT_THAT(beyond_questions_html(questions, figures),
              HasSubstr("href=\"figures/combined_tiny.svg\""));
  EXPECT_THAT(beyond_questions_table(questions).text(), HasSubstr("sum,tiny,no: they overlap,"));
  EXPECT_EQ(beyond_question_rows(questions).size(), 5U);
}

TEST_F(Questions, WithoutThemThereAreNoClaimsAndNoSections) {
  write({});
  const Study studied = study();
  EXPECT_THAT(studied.combined, IsEmpty());
  EXPECT_THAT(beyond_questions(studied), IsEmpty());
  for (const Claim& claim : studied.claims)
    EXPECT_THAT(claim.source, testing::Not(HasSubstr("beyond")));
}

}  // namespace
}  // namespace factflow
