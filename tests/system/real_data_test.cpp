// Real prompts through the whole program: 500 records of COUNTERFACT on two of the demo models.
#include <gmock/gmock.h>

#include "experiments/evaluate/evaluation_arrays.hpp"
#include "experiments/sweep/knockout_arrays.hpp"
#include "results/results_file.hpp"
#include "tests/source_dir.hpp"
#include "tests/system/program.hpp"
#include "tests/system/scenario.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow::testing {
namespace {

TEST(RealData, FiveHundredRecordsAreSwept) {
  const std::string counterfact = source_dir() + "/../shared/data/counterfact.jsonl";
  if (!std::filesystem::exists(counterfact)) GTEST_SKIP() << "needs " << counterfact;
  TemporaryDirectory scratch;
  Scenario scenario;
  scenario.name = "counterfact";
  scenario.dataset = counterfact;
  scenario.limit = 500;
  scenario.models = {"gpt2", "mamba"};
  scenario.select = "none";
  const std::string out = (scratch.path() / "out").string();
  const Ended ended =
      run_program({"run", scratch.write("real.yaml", scenario.yaml()), "--out", out},
                  {.ranks = 2, .patience = std::chrono::minutes(15)});
  ASSERT_EQ(ended.code, 0) << ended.all();
  const ResultsReader reader(out + "/results.h5");
  EXPECT_TRUE(reader.info().complete);
  ASSERT_EQ(reader.prompts().id.size(), 500U);
  for (const ModelInfo& model : reader.models()) {
    const EvaluationResult evaluation = read_evaluation(reader, model.name);
    const CellAxes axes = knockout_axes(reader, model.name);
    const size_t failed =
        static_cast<size_t>(std::count(evaluation.rank.begin(), evaluation.rank.end(), 0));
    EXPECT_EQ(axes.prompts.size(), 500 - failed);
    EXPECT_LT(failed, 50U);  // prompts longer than the demo's gpt2 takes
    // "subject->last" is there in every prompt, and its knockout gives a number at every start.
    const CellWindow window = knockout_window(reader, model.name, 5);
    for (size_t i = 0; i < axes.prompts.size() * window.starts.size(); ++i)
      ASSERT_GT(window.rank[i], 0) << i;
  }
}

}  // namespace
}  // namespace factflow::testing
