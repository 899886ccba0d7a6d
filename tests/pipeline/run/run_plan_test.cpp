// The plan alone: which units a run consists of, without computing any.
#include "pipeline/run/run_plan.hpp"

#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "experiments/edit/edit.hpp"
#include "tests/pipeline/clean_runs.hpp"
#include "tests/source_dir.hpp"

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
    std::vector<std::int32_t> ranks;
    for (std::uint32_t i = 0; i < 12; ++i) ranks.push_back(failed.contains(i) ? 0 : 1);
    return encode(clean_runs(ranks));
  }
  // The units that follow on such an evaluation.
  std::set<UnitKey> released(const std::set<std::uint32_t>& failed) const {
    RunPlan plan(config_, dataset_, planned_);
    const std::vector<Task> first = plan.initial();
    EXPECT_EQ(first.size(), 1U);
    std::set<UnitKey> units;
    for (const Task& task : plan.completed(first[0].id, evaluation(failed)))
      units.insert(task.key());
    return units;
  }

  const Config config_ = parse_config(fmt::format(kYaml, source_dir()), "plan.yaml");
  const Dataset dataset_ = read_dataset(config_.dataset);
  const PlannedJob planned_ = build_job(config_, dataset_.prompts, Completeness::kConfigOnly);
};

TEST_F(Plan, NamesSurviveBeingNumbers) {
  const std::uint64_t digest = 0xfeed'0123'4567'beef;
  for (const UnitName& unit : {UnitName{1, 0, 0, 1, 0},
                               {2, 1, 2, 3, digest},
                               {3, 4000, 16'000'000, 512, digest},
                               {15, 16'383, 4'294'967'295, 16'383, ~digest}}) {
    const UnitName back = unit_named(key_of(unit));
    EXPECT_EQ(back.kind, unit.kind);
    EXPECT_EQ(back.model, unit.model);
    EXPECT_EQ(back.begin, unit.begin);
    EXPECT_EQ(back.count, unit.count);
    EXPECT_EQ(back.selection, unit.selection);
    EXPECT_GT(id_of(unit), 1u) << "numbers that claims use otherwise";
  }
}

TEST_F(Plan, ANameThatDoesNotFitIsNeverCut) {
  for (const UnitName& unit :
       {UnitName{2, 16'384, 0, 1, 0}, {2, 0, 0, 16'384, 0}, {16, 0, 0, 1, 0}})
    EXPECT_THROW(id_of(unit), std::logic_error);
}

// Two lists whose digests agree in 16 bits had one name.
TEST_F(Plan, SelectionsAreToldApartByAll64Bits) {
  RunPlan plan(config_, dataset_, planned_);
  const std::vector<Task> sweeps = plan.completed(plan.initial()[0].id, evaluation({}));
  ASSERT_FALSE(sweeps.empty());
  for (const Task& task : sweeps) {
    EXPECT_NE(task.selection >> 16, 0u);
    EXPECT_EQ(unit_named(task.key()).selection, task.selection);
  }
  for (const UnitKey& unit : plan.units())
    EXPECT_EQ(unit.selection == 0, unit_named(unit).kind == evaluate_kind().number());
}

double cost_of(const std::vector<ExpectedWork>& work) {
  double cost = 0;
  for (const ExpectedWork& one : work) cost += one.cost;
  return cost;
}

// What is expected before the evaluations is what is released after them if all prompts are right,
// and more if they are not.
TEST_F(Plan, ExpectsWhatItWillRelease) {
  for (const std::set<std::uint32_t>& failed : {std::set<std::uint32_t>{}, {3, 4, 7}}) {
    RunPlan plan(config_, dataset_, planned_);
    const std::vector<Task> first = plan.initial();
    const std::vector<ExpectedWork> before = plan.expected();
    std::uint64_t units = 0;
    for (const ExpectedWork& work : before) units += work.units;
    const std::vector<Task> released = plan.completed(first[0].id, evaluation(failed));
    double cost = 0;
    for (const Task& task : released) {
      cost += task.cost;
      EXPECT_EQ(task.kind, unit_named(task.key()).kind);
    }
    EXPECT_TRUE(plan.expected().empty());
    if (failed.empty()) {
      EXPECT_EQ(units, released.size());
      EXPECT_NEAR(cost_of(before), cost, 1e-6 * cost);
    } else {
      EXPECT_GT(cost_of(before), cost);
    }
  }
}

TEST_F(Plan, AnotherSelectionHasUnitsOfOtherNames) {
  const std::set<UnitKey> all = released({}), without_one = released({1});
  EXPECT_FALSE(all.empty());
  EXPECT_EQ(all, released({}));
  // Else the results that were computed while prompt 1 failed would count for other prompts once it
  // is repeated.
  for (const UnitKey& unit : without_one) EXPECT_FALSE(all.contains(unit));
}

TEST_F(Plan, FactsThatAreEditedTogetherAreAUnitOfTheirOwn) {
  const Config config =
      parse_config(fmt::format("{}edit: {{method: memit, layers: [0, 1], memit: {{facts: 5}}}}\n",
                               fmt::format(kYaml, source_dir())),
                   "plan.yaml");
  const PlannedJob planned = build_job(config, dataset_.prompts, Completeness::kConfigOnly);
  RunPlan plan(config, dataset_, planned);
  const std::uint64_t first = plan.initial().at(0).id;
  std::vector<std::uint32_t> facts;
  bool others_split = false;
  for (const Task& task : plan.completed(first, evaluation({3}))) {
    const UnitName unit = unit_named(task.key());
    if (unit.kind == edit_kind().number()) {
      facts.push_back(unit.count);
      EXPECT_TRUE(plan.split(task.id).empty());
    } else {
      others_split = others_split || plan.split(task.id).size() == 2;
    }
  }
  EXPECT_EQ(facts, (std::vector<std::uint32_t>{5, 5, 1}));
  EXPECT_TRUE(others_split);
}

TEST_F(Plan, SaysWhichResultsHoldFailures) {
  const RunPlan plan(config_, dataset_, planned_);
  EXPECT_FALSE(plan.has_failures(evaluation({})));
  EXPECT_TRUE(plan.has_failures(evaluation({7})));
}

TEST_F(Plan, AModelIsTheSameInEveryUnit) {
  RunPlan plan(config_, dataset_, planned_);
  UnitResult first = decode_result(evaluation({}));
  first.report.model_digest = "weights tokens";
  const std::vector<Task> sweeps = plan.completed(plan.initial()[0].id, encode(first));
  ASSERT_FALSE(sweeps.empty());
  UnitResult sweep;
  sweep.report.model_digest = "other-weights tokens";
  EXPECT_THROW(plan.completed(sweeps[0].id, encode(sweep)), RunError);
  sweep.report.model_digest = "weights tokens";
  EXPECT_NO_THROW(plan.completed(sweeps[0].id, encode(sweep)));
}

TEST_F(Plan, MessagesNameModelAndPrompts) {
  const RunPlan plan(config_, dataset_, planned_);
  EXPECT_EQ(plan.name_of(id_of({2, 0, 8, 4, 77})), "unit \"sweep of gpt2, prompts 9 to 12\"");
}

}  // namespace
}  // namespace factflow
