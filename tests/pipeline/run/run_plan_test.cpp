// The plan alone: which units a run consists of, without computing any.
#include "pipeline/run/run_plan.hpp"

#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.hpp"

namespace factflow {
namespace {

constexpr const char* kYaml = R"(
name: plan
dataset: {{path: '{0}/demo/facts.jsonl', limit: 12}}
models:
  - {{name: gpt2, path: '{0}/demo/models/gpt2'}}
select: {{correct_for: all}}
sweep:
  windows: {{sizes: [1, 5]}}
  knockouts:
    - {{from: subject, to: last}}
heatmaps: {{window: 5, prompts: 2}}
)";

class Plan : public ::testing::Test {
 protected:
  // What the evaluation says if every prompt is right but these, which failed.
  static std::string evaluation(const std::set<std::uint32_t>& failed) {
    EvaluationUnit unit;
    unit.prompts.resize(12);
    for (std::uint32_t i = 0; i < 12; ++i) {
      unit.prompts[i].rank = 1;
      if (failed.contains(i)) unit.prompts[i].failure = "broken";
    }
    unit.report.failed = static_cast<std::uint32_t>(failed.size());
    return encode(unit);
  }
  // The units that follow on such an evaluation.
  std::set<std::uint64_t> released(const std::set<std::uint32_t>& failed) const {
    RunPlan plan(config_, dataset_, planned_);
    const std::vector<Task> first = plan.initial();
    EXPECT_EQ(first.size(), 1U);
    std::set<std::uint64_t> units;
    for (const Task& task : plan.completed(first[0].id, evaluation(failed))) units.insert(task.id);
    return units;
  }

  const Config config_ = parse_config(fmt::format(kYaml, FACTFLOW_SOURCE_DIR), "plan.yaml");
  const Dataset dataset_ = read_dataset(config_.dataset);
  const PlannedJob planned_ = build_job(config_, Completeness::kConfigOnly);
};

TEST_F(Plan, NamesSurviveBeingNumbers) {
  const UnitName unit{Stage::kHeatmap, 4000, 16'000'000, 512, 0xbeef};
  const UnitName back = unit_named(id_of(unit));
  EXPECT_EQ(back.stage, unit.stage);
  EXPECT_EQ(back.model, unit.model);
  EXPECT_EQ(back.begin, unit.begin);
  EXPECT_EQ(back.count, unit.count);
  EXPECT_EQ(back.selection, unit.selection);
}

TEST_F(Plan, AnotherSelectionHasUnitsOfOtherNames) {
  const std::set<std::uint64_t> all = released({}), without_one = released({1});
  EXPECT_FALSE(all.empty());
  EXPECT_EQ(all, released({}));
  // Else the results that were computed while prompt 1 failed would count for other prompts once it
  // is repeated.
  for (const std::uint64_t unit : without_one) EXPECT_FALSE(all.contains(unit));
}

TEST_F(Plan, SaysWhichResultsHoldFailures) {
  const RunPlan plan(config_, dataset_, planned_);
  EXPECT_FALSE(plan.has_failures(evaluation({})));
  EXPECT_TRUE(plan.has_failures(evaluation({7})));
}

TEST_F(Plan, AModelIsTheSameInEveryUnit) {
  RunPlan plan(config_, dataset_, planned_);
  EvaluationUnit first = decode_evaluation(evaluation({}));
  first.report.model_digest = "weights tokens";
  const std::vector<Task> sweeps = plan.completed(plan.initial()[0].id, encode(first));
  ASSERT_FALSE(sweeps.empty());
  SweepUnit sweep;
  sweep.report.model_digest = "other-weights tokens";
  EXPECT_THROW(plan.completed(sweeps[0].id, encode(sweep)), RunError);
  sweep.report.model_digest = "weights tokens";
  EXPECT_NO_THROW(plan.completed(sweeps[0].id, encode(sweep)));
}

TEST_F(Plan, MessagesNameModelAndPrompts) {
  const RunPlan plan(config_, dataset_, planned_);
  EXPECT_EQ(plan.name_of(id_of({Stage::kSweep, 0, 8, 4, 77})),
            "unit \"sweep of gpt2, prompts 9 to 12\"");
}

}  // namespace
}  // namespace factflow
