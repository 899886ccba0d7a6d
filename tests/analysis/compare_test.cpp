// What options and runs may be named, and what several runs have in common: without drawing
// anything.
#include <filesystem>
#include <list>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "analysis/analyse.hpp"
#include "analysis/comparable.hpp"
#include "analysis/findings.hpp"
#include "analysis/load_runs.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "tests/analysis/synthetic_results.hpp"

namespace factflow {
namespace {

using testing::HasSubstr;
using testing::Not;

class Compare : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              ("factflow_compare_" + std::to_string(::getpid()));
  }
  void TearDown() override { remove_tree(folder_); }

  static SyntheticOptions small() {
    SyntheticOptions options = synthetic_report();
    options.models = {{"gpt2", "gpt2", 8, 1e8}, {"mamba", "mamba", 12, 1e8}};
    options.prompts = 24;
    options.windows = {1, 3};
    options.edges = {"subject->last", "last->last"};
    options.heatmap_prompts = 0;
    return options;
  }
  std::filesystem::path run(const std::string& name, const SyntheticOptions& options) {
    std::filesystem::create_directories(folder_ / name);
    write_synthetic_results(folder_ / name / "results.h5", options);
    return folder_ / name;
  }
  // Of one run or several.
  Study study(const std::vector<std::filesystem::path>& folders, const StudyOptions& options = {}) {
    std::vector<const ResultsReader*> pointers;
    for (const auto& folder : folders)
      pointers.push_back(&readers_.emplace_back(folder / "results.h5"));
    return make_study(load_runs(pointers), options);
  }
  std::string refusal(const std::vector<std::filesystem::path>& folders,
                      const AnalysisOptions& options = {}) const {
    try {
      if (folders.size() == 1)
        analyse(folders[0], options);
      else
        compare(folders, folder_ / "both", options);
    } catch (const InputError& error) {
      EXPECT_EQ(error.exit_code(), 2);
      return error.what();
    }
    return "no error";
  }

  std::filesystem::path folder_;
  std::list<ResultsReader> readers_;  // which studies look into
};

TEST_F(Compare, AWindowThatWasNotSweptIsRefusedWithTheListOfThoseThatWere) {
  const auto folder = run("a", small());
  for (const std::int64_t window : {4, -1, 0, 9}) {
    AnalysisOptions options;
    options.study.window = window;
    EXPECT_EQ(
        refusal({folder}, options),
        "--window " + std::to_string(window) +
            ": no model has windows of this size for the main set of prompts; swept were 1, 3");
  }
  StudyOptions three;
  three.window = 3;
  EXPECT_EQ(study({folder}, three).window, 3);
}

// Window 3 was asked of the main set "half" only, and so was the last edge; the set "own" shares
// half of its prompts, whose cells are there.
TEST_F(Compare, OnlyWhatASweepAskedOfASetCountsForIt) {
  SyntheticOptions options = small();
  options.models.push_back({"mamba2", "mamba2", 8, 1e8});
  options.named_sets = true;
  const Study studied = study({run("a", options)});
  std::size_t own = 0;
  for (const EdgeEffect& effect : studied.effects) {
    if (effect.prompts != "own") continue;
    ++own;
    EXPECT_EQ(effect.window, 1) << effect.model;
    EXPECT_EQ(effect.edge.label, "subject->last") << effect.model;
    EXPECT_GT(effect.n, 20U) << effect.model;
  }
  EXPECT_EQ(own, 3U);
  for (const Curve& curve : studied.curves)
    EXPECT_TRUE(curve.prompts != "own" || curve.window == 1) << curve.model;
  // The last model has no part in the main set.
  for (const EdgeEffect& effect : studied.main_effects) EXPECT_NE(effect.model, "mamba2");
  StudyOptions three;
  three.window = 3;
  for (const EdgeEffect& effect : study({folder_ / "a"}, three).main_effects)
    EXPECT_EQ(effect.window, 3);
}

TEST_F(Compare, LimitsOfTheCleanProbabilityLeavePromptsOut) {
  const auto folder = run("a", small());
  StudyOptions options;
  const Study all = study({folder});
  options.p_clean = {0.4, 0.8};
  const Study some = study({folder}, options);
  ASSERT_EQ(some.kept.size(), 2U);
  EXPECT_LT(some.main_effects[0].n, all.main_effects[0].n);
  EXPECT_GT(some.main_effects[0].n, 0U);
  for (const ModelData& model : some.run.models)
    for (const double p : model.clean) EXPECT_TRUE(p >= 0.4 && p <= 0.8);
  EXPECT_THAT(findings_text(some),
              HasSubstr("! Only prompts whose clean probability lies in [0.4, 0.8]: gpt2 "));
  AnalysisOptions analysis;
  for (const CleanLimits limits : {CleanLimits{0.8, 0.4}, CleanLimits{-1, 1}, CleanLimits{0, 2}}) {
    analysis.study.p_clean = limits;
    EXPECT_THAT(refusal({folder}, analysis), HasSubstr("expected limits of a probability"));
  }
  analysis.study.p_clean = {0.9999, 1};
  EXPECT_THAT(refusal({folder}, analysis), HasSubstr("those of this run lie from 0.1"));
}

TEST_F(Compare, RunsOfOtherPlacementsAreRefused) {
  SyntheticOptions options = small();
  const auto fit = run("fit", options);
  options.placement = "centred";
  options.seed = 2;
  const auto centred = run("centred", options);
  const std::string refused = refusal({fit, centred});
  EXPECT_THAT(refused, HasSubstr("the placement of windows is 'centred'"));
  EXPECT_THAT(refused, HasSubstr("it is 'fit'; compare runs of one placement"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "both"));
}

TEST_F(Compare, RunsOfOtherAnswersAreRefused) {
  SyntheticOptions options = small();
  const auto ours = run("ours", options);
  options.answer = "first-token";
  options.seed = 2;
  EXPECT_THAT(refusal({ours, run("published", options)}),
              HasSubstr("the rule of the answers' tokens is 'first-token'"));
}

TEST_F(Compare, ACheckpointCountsOnceUnderWhateverNames) {
  const auto first = run("a", small());
  SyntheticOptions options = small();
  options.models[0].name = "other";  // the same seed gives the same digests
  const Study twice = study({first, run("b", options)});
  ASSERT_EQ(twice.run.models.size(), 4U);
  EXPECT_EQ(twice.run.models[1].repeats, "");
  EXPECT_EQ(twice.run.models[2].repeats, "synthetic/gpt2");
  EXPECT_THAT(findings_text(twice), HasSubstr("! synthetic-2/other is the same checkpoint as "
                                              "synthetic/gpt2"));
  for (const Claim& claim : twice.claims)
    for (const ModelVerdict& model : claim.models)
      EXPECT_THAT(model.model, Not(HasSubstr("synthetic-2"))) << claim.text;
  for (const FindingSentence& sentence : finding_sentences(twice))
    EXPECT_THAT(sentence.text, Not(HasSubstr("synthetic-2")));
  // In the tables it stands: the two runs of it can be compared.
  EXPECT_FALSE(twice.paired.empty());
}

TEST_F(Compare, WhatDiffersBetweenRunsIsSaid) {
  SyntheticOptions options = small();
  options.heatmap_prompts = 1;
  options.heatmap_windows = {3};
  const auto first = run("a", options);
  EXPECT_THAT(differences_between_runs(study({first}).run), testing::IsEmpty());
  options.seed = 2;
  options.precision = "bf16";
  options.selection = "every prompt";
  options.heatmap_prompts = 1;
  options.heatmap_windows = {1, 3};
  const std::string text = findings_text(study({first, run("b", options)}));
  EXPECT_THAT(text, HasSubstr("! The runs differ in precision: fp32 (synthetic), bf16 "
                              "(synthetic-2)."));
  EXPECT_THAT(text, HasSubstr("! The runs differ in the rule of selection: right for all models "
                              "(synthetic), every prompt (synthetic-2)."));
  EXPECT_THAT(text, HasSubstr("! The runs differ in the windows of heat maps: 3 (synthetic), 1 and "
                              "3 (synthetic-2)."));
  EXPECT_THAT(text, Not(HasSubstr("differ in dataset")));
}

}  // namespace
}  // namespace factflow
