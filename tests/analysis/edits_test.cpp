// Edits in the analysis: rates and scores by hand, ties and what has no value, the claim about
// matrices, figures, tables, findings and the section of the report, runs of edits alone, damage.
#include "analysis/edits.hpp"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "analysis/analyse.hpp"
#include "analysis/edit_claims.hpp"
#include "analysis/edit_report.hpp"
#include "analysis/figures.hpp"
#include "analysis/findings.hpp"
#include "analysis/load_runs.hpp"
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

TEST(HarmonicMeans, AreThoseByHand) {
  EXPECT_NEAR(harmonic_mean(100, 50, 50), 60, 1e-12);
  EXPECT_NEAR(harmonic_mean(90, 90, 90), 90, 1e-12);
  EXPECT_EQ(harmonic_mean(100, 0, 50), 0);
  EXPECT_TRUE(std::isnan(harmonic_mean(100, std::nan(""), 50)));
  EXPECT_TRUE(std::isnan(harmonic_mean(0, std::nan(""), 50)));
}

// NLLs of one prompt after one edit: rewrite, two paraphrases, two neighbours.
using Five = std::array<float, 5>;

class Edits : public StudyTest {
 protected:
  static SyntheticOptions small() {
    SyntheticOptions options = synthetic_report();
    options.models = {{"gpt2", "gpt2", 8, 1e8}, {"mamba", "mamba", 12, 1e8}};
    options.prompts = 24;
    options.windows = {3};
    options.edges = {"subject->last"};
    options.heatmap_prompts = 0;
    options.failed_share = 0;
    add_edits(options);
    options.edited = 18;
    options.edit_layers = {1, 3, 5};
    return options;
  }
  Study study(const std::vector<std::filesystem::path>& folders, StudyOptions options = {}) {
    std::vector<const ResultsReader*> pointers;
    for (const auto& folder : folders)
      pointers.push_back(&readers_.emplace_back(folder / "results.h5"));
    options.bootstrap.resamples = 50;
    return make_study(load_runs(pointers), options);
  }

  // What is asked of `prompts` facts that are edited in W_o of layer 1, without answers.
  static EditResults asked(std::size_t prompts) {
    EditResults r = synthetic_edit_results();
    r.edits = {"W_o 1"};
    r.matrices = {"W_o"};
    r.layers = {1};
    r.question_kinds = {EditQuestion::kRewrite, EditQuestion::kParaphrase,
                        EditQuestion::kParaphrase, EditQuestion::kNeighbour,
                        EditQuestion::kNeighbour};
    r.other_kinds = {OtherFact::kSameRelation, OtherFact::kUnrelated};
    r.contexts = r.context_tokens = {""};
    r.sets = {"selected"};
    r.asked = {1};
    for (std::size_t i = 0; i < prompts; ++i) {
      r.prompts.push_back(static_cast<std::int64_t>(i) + 1);
      r.members.push_back(1);
      r.subject_last.push_back(1);
      r.question_texts.insert(r.question_texts.end(), {"r", "p", "q", "m", "n"});
      r.other_prompts.insert(r.other_prompts.end(), {1, 2});
    }
    r.subjects = r.true_answers = r.new_answers = r.essences =
        std::vector<std::string>(prompts, "x");
    r.tokens = r.new_tokens = r.true_tokens = std::vector<std::string>(prompts, "1");
    return r;
  }
  // Adds a prompt's answers to before or after; greedy: 1 where the NLL is below 0.5.
  static void answer(const Five& of_new, const Five& of_true, EditJudgement& judgement) {
    const auto greedy = [](float nll) { return std::isnan(nll) ? -1 : nll < 0.5F ? 1 : 0; };
    for (std::size_t i = 0; i < of_new.size(); ++i) {
      judgement.new_nll.push_back(of_new[i]);
      judgement.true_nll.push_back(of_true[i]);
      judgement.new_greedy.push_back(greedy(of_new[i]));
      judgement.true_greedy.push_back(greedy(of_true[i]));
    }
  }
  // How the searches ended, and the other prompts: their changes are `change`, pair by pair.
  static void finish(const std::vector<float>& change, EditResults& r) {
    const std::size_t cells = r.edits.size() * r.prompts.size();
    r.steps = r.clamped = std::vector<std::int32_t>(cells, 1);
    r.loss = r.nll = r.kl = r.mean_prob = r.delta_norm = r.value_norm = r.key_product =
        r.update_norm = std::vector<float>(cells, 0.5F);
    r.other_log_before = std::vector<float>(2 * r.prompts.size(), -1);
    r.other_log_change = change;
    for (const float value : change) {
      r.other_top_changed.push_back(std::isnan(value) ? -1 : value < -0.5F ? 1 : 0);
      r.other_kl.push_back(std::isnan(value) ? kNan : 0.25F);
    }
  }
  // A model of four layers.
  void write(const EditResults& results) const {
    PromptTable prompts;
    prompts.id = results.prompts;
    EvaluationResult clean;
    for (const std::int64_t id : results.prompts) {
      prompts.text.push_back("prompt " + std::to_string(id));
      prompts.subject.push_back("subject " + std::to_string(id));
      clean.probability.push_back(id == 1 ? 0.9F : 0.5F);
    }
    const std::size_t count = results.prompts.size();
    prompts.answer = prompts.relation = std::vector<std::string>(count, "x");
    clean.prompt = prompts.id;
    clean.rank = clean.answer_token = std::vector<std::int32_t>(count, 1);
    clean.token_count = clean.subject_end = std::vector<std::int32_t>(count, 4);
    clean.answer_text = prompts.answer;
    clean.changes = clean.tied = clean.subject_begin = std::vector<std::int32_t>(count, 0);
    clean.top = 0;
    ResultsWriter writer(folder_ / "results.h5", RunInfo{}, prompts);
    writer.begin_model({"tiny", "mamba", "", 4, 8, 100, 1000, "", ""});
    writer.write(arrays_of(clean));
    EditResults whole = results;
    if (whole.methods.empty()) complete_as_romes(whole);
    writer.write(arrays_of(whole));
    writer.publish({});
  }

  // One edit that succeeds in all, one in part and with ties, one that failed.
  static EditResults three() {
    EditResults r = asked(3);
    r.question_texts[5 + 2] = "";  // the second prompt has one paraphrase
    answer({4, 4, 4, 4, 4}, {1, 1, 1, 1, 1}, r.before);
    answer({4, 4, kNan, 4, 4}, {1, 1, kNan, 1, 1}, r.before);
    answer({4, 4, 4, 4, 4}, {1, 1, 1, 1, 1}, r.before);
    answer({0.25F, 1, 2, 3, 1}, {2, 2, 3, 2, 2}, r.after);        // neighbours: kept, lost
    answer({1, 2, kNan, 2, 4}, {1, 1, kNan, 2, 0.25F}, r.after);  // ties: rewrite, neighbour 1
    answer({kNan, kNan, kNan, kNan, kNan}, {kNan, kNan, kNan, kNan, kNan}, r.after);
    finish({-1, 0.5F, 0, 0.25F, kNan, kNan}, r);
    return r;
  }
};

TEST_F(Edits, RatesAndScoresAreThoseByHand) {
  write(three());
  const Study studied = study({folder_});
  ASSERT_EQ(studied.edits.size(), 1U);
  ASSERT_EQ(studied.edits[0].scores.size(), 1U);
  const EditScore& score = studied.edits[0].scores[0];
  EXPECT_EQ(score.asked, 3U);
  EXPECT_EQ(score.without, 1U);
  const auto expect = [&](EditMeasure measure, double value, double std, double unedited) {
    const EditEstimate& of = score.of(measure);
    EXPECT_EQ(of.n, 2U) << to_string(measure);
    EXPECT_NEAR(of.value, value, 1e-5) << to_string(measure);
    EXPECT_NEAR(of.unedited, unedited, 1e-5) << to_string(measure);
    if (measure != EditMeasure::kScore) {
      EXPECT_NEAR(of.std, std, 1e-5) << to_string(measure);
    }
  };
  expect(EditMeasure::kEfficacy, 50, 50, 0);  // the tie is no success
  expect(EditMeasure::kParaphrase, 50, 50, 0);
  expect(EditMeasure::kNeighbourhood, 50, 0, 100);  // (1 of 2, and 1 of 2 with a tie)
  expect(EditMeasure::kScore, 50, 0, 0);
  expect(EditMeasure::kEfficacyMagnitude, 50 * (std::exp(-0.25) - std::exp(-2)),
         50 * (std::exp(-0.25) - std::exp(-2)), 100 * (std::exp(-4) - std::exp(-1)));
  expect(EditMeasure::kEfficacyAccuracy, 50, 50, 0);
  expect(EditMeasure::kNeighbourhoodAccuracy, 25, 25, 0);
  const double first = 50 * (std::exp(-2) - std::exp(-3) + std::exp(-2) - std::exp(-1)),
               second = 50 * (0 + std::exp(-0.25) - std::exp(-4));
  expect(EditMeasure::kNeighbourhoodMagnitude, 0.5 * (first + second),
         0.5 * std::abs(first - second), 100 * (std::exp(-1) - std::exp(-4)));
  EXPECT_TRUE(std::isnan(score.of(EditMeasure::kScore).interval.low)) << "two facts";
  // Wilson's 95 % interval of one of two.
  EXPECT_NEAR(score.of(EditMeasure::kEfficacy).interval.low, 9.4531, 1e-3);
  EXPECT_THAT(edit_counts(studied.edits),
              ElementsAre("tiny: 2 of 3 edits (W_o in 3 prompts); left out: 1 without a value."));
  EXPECT_THAT(gaps(studied), Contains(HasSubstr("tiny: 2 of 3 edits")));
}

TEST_F(Edits, TheScoreIsOfMeans) {
  EditResults r = asked(2);  // ES 100 and 100, PS 50 and 50, NS 100 and 0: S = 60
  for (int i = 0; i < 2; ++i) answer({4, 4, 4, 4, 4}, {1, 1, 1, 1, 1}, r.before);
  answer({0, 0, 3, 4, 4}, {1, 1, 1, 1, 1}, r.after);
  answer({0, 0, 3, 0, 0}, {1, 1, 1, 1, 1}, r.after);
  finish({0, 0, 0, 0}, r);
  write(r);
  const EditScore score = study({folder_}).edits[0].scores[0];
  EXPECT_NEAR(score.of(EditMeasure::kScore).value, 60, 1e-12);
  EXPECT_NEAR(score.of(EditMeasure::kNeighbourhood).std, 50, 1e-12);
}

TEST_F(Edits, WhatElseMovedIsByKind) {
  write(three());
  const Study studied = study({folder_});
  const std::vector<MovedPrompts>& moved = studied.edits[0].moved;
  ASSERT_EQ(moved.size(), 2U);  // the failed edit moves nothing
  EXPECT_EQ(moved[0].kind, OtherFact::kSameRelation);
  EXPECT_EQ(moved[0].n, 2U);
  EXPECT_NEAR(moved[0].log_change, -0.5, 1e-12);
  EXPECT_NEAR(moved[0].size, 0.5, 1e-12);
  EXPECT_NEAR(moved[0].top_changed, 50, 1e-12);
  EXPECT_NEAR(moved[1].log_change, 0.375, 1e-12);
  EXPECT_NEAR(moved[1].top_changed, 0, 1e-12);
  EXPECT_NEAR(moved[1].kl, 0.25, 1e-12);
}

TEST_F(Edits, LimitsOfTheCleanProbabilityLeavePromptsOut) {
  write(three());
  StudyOptions options;
  options.p_clean = {0.6, 1};
  const Study limited = study({folder_}, options);
  const EditScore& score = limited.edits[0].scores[0];
  EXPECT_EQ(score.of(EditMeasure::kEfficacy).n, 1U);
  EXPECT_EQ(score.outside, 1U);
  EXPECT_EQ(score.without, 1U);
  EXPECT_NEAR(score.of(EditMeasure::kEfficacy).value, 100, 1e-12);
  EXPECT_THAT(gaps(limited), Contains(HasSubstr("tiny 1 of 3 that were edited")));
  options.p_clean = {0.95, 1};
  EXPECT_THROW(study({folder_}, options), InputError);
}

TEST_F(Edits, WithoutAnyValueNothingIsDrawn) {
  EditResults r = asked(1);
  r.other_prompts = {1, -1};
  const Five none = {kNan, kNan, kNan, kNan, kNan};
  answer(none, none, r.before);
  answer(none, none, r.after);
  finish({kNan, kNan}, r);
  write(r);
  const Study studied = study({folder_});
  const FigureSet figures = make_figures(studied, {});
  EXPECT_THAT(figures.figures, IsEmpty());
  EXPECT_THAT(figures.omitted, Contains("edit_tiny is not drawn: no edit has a value."));
  EXPECT_THAT(best_edit_rows(studied)[1], Contains("-"));
  EXPECT_THAT(edits_html(studied), Not(HasSubstr("Edit sheets")));
}

// ---- the claim about matrices: in each layer an edit of each matrix, whose success rates are made
// up of whole facts.

ModelEdits model_edits(std::size_t facts) {
  ModelEdits edits;
  edits.model = "mamba";
  edits.layers = 8;
  edits.mixing = Mixing::kState;
  EditResults& r = edits.results;
  r.question_kinds = {EditQuestion::kRewrite, EditQuestion::kParaphrase, EditQuestion::kNeighbour};
  r.sets = {"selected"};
  for (std::size_t i = 0; i < facts; ++i) {
    r.prompts.push_back(static_cast<std::int64_t>(i));
    r.members.push_back(1);
    edits.fact.push_back(i);
    edits.admitted.push_back(1);
  }
  const std::size_t questions = facts * r.question_kinds.size();
  r.before.new_nll = std::vector<float>(questions, 3);
  r.before.true_nll = std::vector<float>(questions, 1);
  r.before.new_greedy = r.before.true_greedy = std::vector<std::int32_t>(questions, 0);
  return edits;
}

// An edit that succeeds in the first `good` facts.
void add_edit(ModelEdits& edits, const std::string& matrix, std::int64_t layer, std::size_t good) {
  EditResults& r = edits.results;
  EditScore score;
  score.matrix = matrix;
  score.layer = layer;
  score.edit = r.edits.size();
  edits.scores.push_back(score);
  r.edits.push_back(matrix + " " + std::to_string(layer));
  r.matrices.push_back(matrix);
  r.layers.push_back(static_cast<std::int32_t>(layer));
  r.methods.emplace_back(kRomeMethod);
  r.all_layers.push_back(std::to_string(layer));
  r.asked.push_back(1);
  for (std::size_t i = 0; i < r.prompts.size(); ++i)
    for (const EditQuestion question : r.question_kinds) {
      const bool fresh = (question == EditQuestion::kNeighbour) != (i < good);
      r.after.new_nll.push_back(fresh ? 0.5F : 2);
      r.after.true_nll.push_back(1);
      r.after.new_greedy.push_back(0);
      r.after.true_greedy.push_back(0);
    }
}

ModelEdits edited(std::size_t facts, std::size_t of_o, std::size_t of_a, std::size_t of_g) {
  ModelEdits edits = model_edits(facts);
  for (const std::int64_t layer : {0, 3}) {
    add_edit(edits, "W_o", layer, of_o);
    add_edit(edits, "W_a", layer, of_a);
    add_edit(edits, "W_g", layer, of_g);
  }
  add_edit(edits, "W_o", 6, 0);  // late: no part of it
  add_edit(edits, "W_a", 6, facts);
  return edits;
}

Claim judge(const ModelEdits& edits) {
  BootstrapOptions options;
  options.resamples = 100;
  return judge_edit_claims({edits}, options)[0];
}

TEST(EditClaims, CompareMatricesInTheFirstHalf) {
  const Claim best = judge(edited(40, 38, 20, 25));
  EXPECT_EQ(best.verdict, Verdict::kHolds) << best.models[0].reason;
  EXPECT_THAT(best.models[0].evidence,
              AllOf(HasSubstr("W_o 95.0 against W_a 50.0, difference +45.0"),
                    HasSubstr("2 layers and 40 facts"), HasSubstr("W_g 62.5")));
  EXPECT_EQ(judge(edited(40, 20, 38, 39)).verdict, Verdict::kDoesNotHold);
  EXPECT_EQ(judge(edited(40, 25, 38, 10)).verdict, Verdict::kPartly);
  EXPECT_EQ(judge(edited(40, 25, 25, 25)).verdict, Verdict::kCannotTell);
  EXPECT_THAT(judge(edited(9, 9, 1, 1)).models[0].reason, HasSubstr("9 facts, asked are 10"));
}

TEST(EditClaims, CannotBeToldOfOneLayerOrMatrix) {
  ModelEdits one = model_edits(40);
  add_edit(one, "W_o", 1, 40);
  EXPECT_THAT(judge(one).models[0].reason, HasSubstr("no other matrix than W_o"));
  add_edit(one, "W_a", 1, 10);
  EXPECT_EQ(judge(one).verdict, Verdict::kCannotTell);
  EXPECT_THAT(judge(one).models[0].reason, HasSubstr("edited in 1 layer of the first half"));
  ModelEdits other = model_edits(40);
  add_edit(other, "W_a", 1, 40);
  EXPECT_THAT(judge(other).models[0].reason, HasSubstr("W_o was not edited"));
  ModelEdits transformer = edited(40, 38, 20, 25);
  transformer.mixing = Mixing::kAttention;
  EXPECT_EQ(judge(transformer).reason, "not in this run");
  EXPECT_THAT(judge_edit_claims({}, {}), IsEmpty());
}

// ---- whole analyses

TEST_F(Edits, HaveFiguresTablesFindingsAndASection) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  const auto folder = run("both", small());
  const AnalysisSummary summary = analyse(folder, quick());
  EXPECT_EQ(summary.problem, "");
  for (const char* stem : {"edit_gpt2", "edit_mamba"})
    for (const char* ending : {".svg", ".pdf", ".png", "_column.pdf"})
      EXPECT_TRUE(std::filesystem::exists(folder / "figures" / (std::string(stem) + ending)))
          << stem << ending;
  const std::string figure = text("both/figures/edit_mamba.svg");
  for (const char* words : {"W_a", "W_g", "W_o", "unedited", "S: harmonic mean", "n = 17"})
    EXPECT_THAT(figure, HasSubstr(words));
  EXPECT_THAT(text("both/tables/edit_scores.csv"),
              AllOf(testing::StartsWith("model,family,layers,prompts,matrix,layer,asked,"),
                    HasSubstr("mamba,mamba,12,selected,W_o,3,18,1,0,")));
  EXPECT_THAT(text("both/tables/edits.csv"), HasSubstr(",W_o,5,0,without a value,"));
  EXPECT_THAT(text("both/tables/edit_moved.csv"), HasSubstr(",W_g,5,same subject,"));
  EXPECT_THAT(text("both/tables/claims.csv"), HasSubstr("W_o is the most robust"));
  EXPECT_THAT(summary.findings,
              AllOf(HasSubstr("Edits of single facts, no part of the findings"),
                    HasSubstr("mamba: 153 of 162 edits (W_a, W_g, W_o in 18 prompts); left out: 9 "
                              "without a value.")));
  const std::string page = text("both/report.html");
  for (const char* words :
       {"<section id=\"edits\">", "<a href=\"#edits\">", "tables/edit_scores.csv", "Edit sheets",
        "figures/edit_mamba.pdf", "What else moved most", "how the edits were made"})
    EXPECT_THAT(page, HasSubstr(words));
}

TEST_F(Edits, OfOneLayerAreBars) {
  SyntheticOptions options = small();
  options.edit_layers = {2};
  const Study studied = study({run("one", options)});
  const FigureSet figures = make_figures(studied, {});
  const auto found =
      std::find_if(figures.figures.begin(), figures.figures.end(),
                   [](const Figure& figure) { return figure.plots[0].stem == "edit_mamba"; });
  ASSERT_NE(found, figures.figures.end());
  EXPECT_THAT(found->caption, HasSubstr("whiskers"));
  EXPECT_THAT(found->plots[0].script, HasSubstr("with boxes"));
  FigureOptions limits;
  limits.models = 1;
  EXPECT_THAT(make_figures(studied, limits).omitted,
              Contains("Figures of edits are drawn for the first 1 of 2 models."));
}

TEST_F(Edits, OfSeveralSetsAreApart) {
  SyntheticOptions options = small();
  options.edit_sets = true;
  const Study studied = study({run("sets", options)});
  std::size_t all = 0, thirds = 0;
  for (const EditScore& score : studied.edits[1].scores) {
    (score.prompts == "all" ? all : thirds) += 1;
    EXPECT_EQ(score.asked, score.prompts == "all" ? 18U : 6U);
    EXPECT_EQ(score.main_set, score.prompts == "all");
  }
  EXPECT_EQ(all, 9U);
  EXPECT_EQ(thirds, 3U);
  EXPECT_TRUE(studied.edits[1].best("W_o")->main_set);
  const FigureSet figures = make_figures(studied, {});
  std::vector<std::string> stems;
  for (const Figure& figure : figures.figures) stems.push_back(figure.plots[0].stem);
  EXPECT_THAT(stems, Contains("edit_mamba_thirds"));
}

TEST_F(Edits, ARunOfThemAloneIsAnalysedAndCompared) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  SyntheticOptions options = small();
  options.knockouts = false;
  const auto first = run("a", options);
  const AnalysisSummary summary = analyse(first, quick());
  EXPECT_EQ(summary.problem, "");
  EXPECT_THAT(summary.findings, AllOf(HasSubstr("No knockouts"), HasSubstr("W_down")));
  EXPECT_THAT(text("a/report.html"),
              AllOf(HasSubstr("<section id=\"edits\">"), Not(HasSubstr("Apache ECharts\","))));
  options.seed = 2;
  options.first_id =
      107;  // other ids of the same prompts: one of them is a prompt of the first run
  options.edit_layers = {1, 7};
  const auto second = run("b", options);
  const AnalysisSummary both = compare({first, second}, folder_ / "ab", quick());
  EXPECT_EQ(both.problem, "");
  EXPECT_THAT(both.findings, HasSubstr("The runs differ in what is edited: 'W_a 3', 'W_a 5',"));
  EXPECT_THAT(text("ab/tables/edit_scores.csv"),
              HasSubstr("synthetic-2/mamba,mamba,12,selected,W_o,7,"));
}

TEST_F(Edits, ArePagedInTheReport) {
  SyntheticOptions options = small();
  options.prompts = options.edited = 40;
  options.models = {};
  for (int i = 0; i < 4; ++i)
    options.models.push_back({"mamba" + std::to_string(i), "mamba", 12, 1e8});
  const std::string section = edits_html(study({run("many", options)}));
  std::size_t sheets = 0;
  for (std::size_t at = section.find("class=\"sheet\""); at != std::string::npos;
       at = section.find("class=\"sheet\"", at + 1))
    ++sheets;
  EXPECT_EQ(sheets, 60U);  // of 4 models, 8 facts each, 3 matrices
  EXPECT_THAT(section, HasSubstr("(60 sheets at most)"));
}

TEST_F(Edits, DamageIsOneClearLine) {
  const auto message = [&](const EditResults& results) {
    write(results);
    try {
      analyse(folder_, quick());
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EditResults unknown = three();
  unknown.other_prompts[0] = 77;
  EXPECT_THAT(message(unknown), AllOf(HasSubstr("tiny/edit"), HasSubstr("other_prompt")));
  EditResults nowhere = three();
  nowhere.other_prompts[0] = -1;
  EXPECT_THAT(message(nowhere), AllOf(HasSubstr("tiny/edit"), HasSubstr("other_log_change")));
  EditResults deep = three();
  deep.layers = {4};
  deep.edits = {"W_o 4"};
  EXPECT_THAT(message(deep), AllOf(HasSubstr("tiny/edit"), HasSubstr("layers below 4")));
  EditResults negative = three();
  negative.after.new_nll[0] = -1;
  EXPECT_THAT(message(negative), AllOf(HasSubstr("tiny/edit"), HasSubstr("new_nll")));
}

}  // namespace
}  // namespace factflow
