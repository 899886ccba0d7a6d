// Linear relations in the analysis: shares by hand, what is left out, tables, the section of the
// report, limits, and damage.
#include "analysis/linear_relations.hpp"

#include <cmath>
#include <filesystem>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "analysis/findings.hpp"
#include "analysis/linear_relation_report.hpp"
#include "analysis/load_runs.hpp"
#include "analysis/staging.hpp"
#include "analysis/study.hpp"
#include "analysis/tables.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "experiments/lre/lre_arrays.hpp"
#include "tests/analysis/study_test.hpp"

namespace factflow {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr std::size_t kPrompts = 16, kTrials = 2, kLayers = 2, kBetas = 3, kRanks = 2;

class LinearRelations : public StudyTest {
 protected:
  // Two relations and one that has too few subjects. Prompts 1 to 10 are of the first: 1 and 2 are
  // trained on; the rest is known in trial 0, in trial 1 all but the last. 11 to 15 are of the
  // second, of which too few are known; 16 is of the third.
  static RelationResults results() {
    RelationResults r;
    r.relations = {"capital", "<b>language</b>", "city"};
    r.words = {"The capital of {} is", "In {} one speaks", "{} stands in"};
    r.facts = {40, 20, 3};
    r.largest_share = {0.25, 0.5, 1};
    r.squared_shares = {0.125, 0.375, 1};
    r.training = {1, 2, 2, 1, 11, 12, 12, 11, -1, -1, -1, -1};
    r.trials = kTrials;
    r.training_count = 2;
    r.layers = {0, 4};
    r.betas = {0.5, 1, 2};
    r.ranks = {4, 8};
    for (std::size_t i = 0; i < kPrompts; ++i) {
      r.prompts.push_back(static_cast<std::int64_t>(i) + 1);
      r.relation_of.push_back(i < 10 ? 0 : i < 15 ? 1 : 2);
    }
    r.role.assign(kPrompts * kTrials, 2);
    for (const std::size_t i : {0U, 1U, 10U, 11U}) r.role[i * 2] = r.role[i * 2 + 1] = 1;
    r.role[15 * 2] = r.role[15 * 2 + 1] = 0;
    r.answer_rank.assign(kPrompts * kTrials, 0);
    r.answer_probability.assign(kPrompts * kTrials, kNan);
    r.target.assign(kPrompts * kTrials, -1);
    r.predicted.assign(kPrompts * kTrials * kLayers * kBetas, -1);
    r.predicted_rank.assign(r.predicted.size(), 0);
    r.edited_rank.assign(kPrompts * kTrials * kLayers * kRanks, 0);
    r.edited_probability.assign(r.edited_rank.size(), kNan);
    for (std::size_t test = 0; test < r.role.size(); ++test)
      if (r.role[test] == 2) {
        const bool known = test != 9 * 2 + 1;
        r.answer_rank[test] = known ? 1 : 7;
        r.answer_probability[test] = known ? 0.5F : 0.01F;
        if (known) fill(r, test);
      }
    return r;
  }

  // At layer 4 beta 1 is right of the first `right` facts of a trial, and its second guess of one
  // more; everything else is right of none but the first. Edits at layer 0 and rank 8 succeed in
  // half of the facts, at layer 4 and rank 4 in all.
  static void fill(RelationResults& r, std::size_t test) {
    const std::size_t prompt = test / kTrials, trial = test % kTrials, fact = prompt - 2;
    const std::size_t right = trial == 0 ? 6 : 4;
    for (std::size_t cell = 0; cell < kLayers * kBetas; ++cell) {
      const bool best = cell == kBetas + 1;
      const std::int32_t rank = best ? (fact < right    ? 1
                                        : fact == right ? 2
                                                        : 9)
                                     : (fact == 0 ? 1 : 3);
      r.predicted_rank[test * kLayers * kBetas + cell] = rank;
      r.predicted[test * kLayers * kBetas + cell] = 17;
    }
    r.target[test] = 5;
    const std::int32_t edited[] = {3, fact % 2 == 0 ? 1 : 4, 1, 2};
    for (std::size_t cell = 0; cell < kLayers * kRanks; ++cell) {
      r.edited_rank[test * kLayers * kRanks + cell] = edited[cell];
      r.edited_probability[test * kLayers * kRanks + cell] = 0.25F;
    }
  }

  Study study(const std::vector<RelationResults>& models, StudyOptions options = {}) {
    PromptTable prompts;
    for (std::size_t i = 0; i < kPrompts; ++i) {
      prompts.id.push_back(static_cast<std::int64_t>(i) + 1);
      prompts.text.push_back("text " + std::to_string(i));
      prompts.subject.push_back("text");
      prompts.answer.push_back("x");
      prompts.relation.push_back("r");
    }
    ResultsWriter writer(folder_ / "results.h5", RunInfo{}, prompts);
    for (std::size_t i = 0; i < models.size(); ++i) {
      writer.begin_model(
          {"model" + std::to_string(i), i == 0 ? "mamba" : "gpt2", "", 6, 8, 100, 1000, "", ""});
      writer.write(arrays_of(models[i]));
    }
    writer.publish({});
    readers_.emplace_back(folder_ / "results.h5");
    return make_study(load_runs({&readers_.back()}), options);
  }
};

TEST(TrialMeans, HaveTheErrorOfTheMean) {
  const TrialMean three = mean_of_trials({0.2, 0.4, 0.9});
  EXPECT_DOUBLE_EQ(three.value, 0.5);
  EXPECT_NEAR(three.error, std::sqrt((0.09 + 0.01 + 0.16) / 2 / 3), 1e-15);
  EXPECT_TRUE(std::isnan(mean_of_trials({0.5}).error));
  EXPECT_TRUE(std::isnan(mean_of_trials({}).value));
}

TEST_F(LinearRelations, SharesAreThoseOfKnownFacts) {
  const Study found = study({results()});
  ASSERT_THAT(found.relations, SizeIs(1));
  const ModelRelations& model = found.relations[0];
  ASSERT_THAT(model.relations, SizeIs(3));
  const RelationScore& score = model.relations[0];
  EXPECT_EQ(score.left_out, "");
  EXPECT_EQ(score.trials, 2U);
  EXPECT_EQ(score.prompts, 10U);
  EXPECT_DOUBLE_EQ(score.known, 7.5);  // 8 and 7
  EXPECT_EQ(score.best_layer().layer, 4);
  EXPECT_DOUBLE_EQ(score.best_layer().beta, 1);
  EXPECT_DOUBLE_EQ(score.best_layer().faithfulness(), (6.0 / 8 + 4.0 / 7) / 2);
  EXPECT_DOUBLE_EQ(score.best_layer().recall[1].value, (7.0 / 8 + 5.0 / 7) / 2);
  EXPECT_DOUBLE_EQ(score.best_layer().recall[2].value, score.best_layer().recall[1].value);
  EXPECT_NEAR(score.best_layer().recall[0].error, (6.0 / 8 - 4.0 / 7) / 2, 1e-15);
  // Layer 0: every beta is right of one fact, and the least of equals is taken.
  EXPECT_DOUBLE_EQ(score.layers[0].beta, 0.5);
  EXPECT_DOUBLE_EQ(score.layers[0].faithfulness(), (1.0 / 8 + 1.0 / 7) / 2);
  EXPECT_DOUBLE_EQ(score.layers[0].causality.value, (4.0 / 8 + 4.0 / 7) / 2);
  EXPECT_EQ(score.layers[0].rank, 8);
  EXPECT_EQ(score.most_causal().layer, 4);
  EXPECT_DOUBLE_EQ(score.most_causal().causality.value, 1);
  EXPECT_EQ(score.most_causal().rank, 4);
  EXPECT_DOUBLE_EQ(model.mean_faithfulness(), score.best_layer().faithfulness());
  EXPECT_EQ(model.above_half(), 1U);
}

TEST_F(LinearRelations, WhatIsLeftOutIsSaid) {
  const Study found = study({results()});
  EXPECT_EQ(found.relations[0].relations[1].left_out, "fewer than 6 known facts in every trial");
  EXPECT_EQ(found.relations[0].relations[2].left_out,
            "too few subjects in the dataset to fit and test");
  EXPECT_EQ(
      relations_in_words(found.relations[0]),
      "1 of 3 relations; left out: 1 with fewer than 6 known facts in every trial, 1 with too "
      "few subjects in the dataset to fit and test");
  EXPECT_THAT(findings_text(found), HasSubstr("! model0: linear relations: 1 of 3 relations"));
  EXPECT_THAT(findings_text(found), HasSubstr("Linear relations, no part of the findings"));
  StudyOptions options;
  options.p_clean = {0.6, 1};
  EXPECT_THROW(study({results()}, options), InputError);
  options.p_clean = {0, 0.4};  // leaves the one that is not known
  const Study limited = study({results()}, options);
  EXPECT_THAT(limited.relations[0].relations[0].left_out, HasSubstr("fewer than 6 known"));
  ASSERT_THAT(limited.kept, SizeIs(1));
  EXPECT_EQ(limited.kept[0].kept, 1U);
  EXPECT_EQ(limited.kept[0].of, 22U);
}

TEST_F(LinearRelations, AreInTheReportAndTheTables) {
  RelationResults without_edits = results();
  without_edits.ranks.clear();
  const Study found = study({results(), without_edits});
  const std::string html = linear_relations_html(found);
  EXPECT_THAT(html, HasSubstr("<section id=\"relations\">"));
  EXPECT_THAT(html, HasSubstr("0.66 \u00b1 0.09"));
  EXPECT_THAT(html, HasSubstr("model0: faithfulness by layer"));
  EXPECT_THAT(html, HasSubstr("model0: causality by layer"));
  EXPECT_THAT(html, HasSubstr("model1: faithfulness by layer"));
  EXPECT_THAT(html, testing::Not(HasSubstr("model1: causality by layer")));
  EXPECT_THAT(html, testing::Not(HasSubstr("<b>language")));
  Staging staging(folder_ / "analysis");
  write_tables(found, staging);
  staging.publish();
  const std::string table = read_file(folder_ / "analysis/tables/linear_relations.csv");
  EXPECT_THAT(table, HasSubstr("model0,mamba,6,capital,The capital of {} is,40,10,2,7.5,0.66071"));
  EXPECT_THAT(table, HasSubstr("model1,gpt2,6,<b>language</b>,In {} one speaks,20,5,0,3,NaN,NaN"));
  EXPECT_THAT(read_file(folder_ / "analysis/tables/linear_relation_layers.csv"),
              HasSubstr("model0,capital,The capital of {} is,4,0.66071"));
}

TEST_F(LinearRelations, DamageIsFound) {
  RelationResults damaged = results();
  damaged.answer_rank[3 * 2] = 0;
  EXPECT_THROW(study({damaged}), InputError);
  damaged = results();
  damaged.predicted_rank[0] = 4;  // of a prompt that is trained on
  EXPECT_THROW(study({damaged}), InputError);
  damaged = results();
  damaged.relation_of[4] = 3;
  EXPECT_THROW(study({damaged}), InputError);
  damaged = results();
  damaged.edited_probability[80] = 2;
  EXPECT_THROW(study({damaged}), InputError);
}

}  // namespace
}  // namespace factflow
