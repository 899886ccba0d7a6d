// A kind of experiment is one folder and one line in a table: a program with a kind that the
// project does not know plans, runs, continues, tells and stores it.
#include <filesystem>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "base/exit_codes.hpp"
#include "experiments/evaluate/evaluation_arrays.hpp"
#include "results/results_file.hpp"
#include "tests/system/program.hpp"
#include "tests/system/scenario.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow::testing {
namespace {

using ::testing::HasSubstr;

class Toy : public ::testing::Test {
 protected:
  Toy() {
    Scenario scenario = tiny();
    scenario.limit = 30;
    scenario.models = {"gpt2", "mamba"};
    scenario.heatmaps = 0;
    config_ = scratch_.write("toy.yaml", scenario.yaml() + "lengths: {models: mamba}\n").string();
  }

  static Start toy() {
    Start start;
    start.program = TOY_PROGRAM;
    return start;
  }
  std::string out(const std::string& name) const { return (scratch_ / name).string(); }
  Ended run(const std::string& name) const {
    return run_program({"run", config_, "--out", out(name)}, toy());
  }

  TemporaryDirectory scratch_;
  std::string config_;
};

// What the group MODEL/lengths holds.
struct Lengths {
  std::vector<std::int64_t> prompt;
  std::vector<std::int32_t> tokens;
  std::vector<float> probability;
  bool operator==(const Lengths&) const = default;
};
Lengths lengths_in(const ResultsReader& reader) {
  const hdf5::Group group = reader.arrays_of("mamba").open_group("lengths");
  Lengths lengths;
  lengths.prompt = group.read_axis<std::int64_t>("prompt");
  reader.check_prompts(group, lengths.prompt);
  lengths.tokens = group.read<std::int32_t>("tokens", {lengths.prompt.size()});
  lengths.probability = group.read<float>("probability", {lengths.prompt.size()});
  return lengths;
}

TEST_F(Toy, IsValidatedPlannedComputedToldStoredAndAnalysed) {
  EXPECT_EQ(run_program({"validate", config_}, toy()).code, 0);
  const Ended plan = run_program({"plan", config_}, toy());
  EXPECT_EQ(plan.code, 0) << plan.all();
  EXPECT_THAT(plan.out, HasSubstr("  lengths  "));
  const Ended ended = run("whole");
  ASSERT_EQ(ended.code, 0) << ended.all();
  EXPECT_THAT(ended.err, HasSubstr("lengths of 30 of 30 prompts taken"));
  EXPECT_THAT(run_program({"status", out("whole")}, toy()).out,
              HasSubstr("lengths of 30 of 30 prompts taken"));
  const ResultsReader reader(out("whole") + "/results.h5");
  EXPECT_TRUE(reader.info().complete);
  EXPECT_FALSE(reader.arrays_of("gpt2").has("lengths"));
  const Lengths lengths = lengths_in(reader);
  const EvaluationResult clean = read_evaluation(reader, "mamba");
  for (std::size_t i = 0, row = 0; i < lengths.prompt.size(); ++i) {
    while (clean.prompt[row] != lengths.prompt[i]) ++row;
    EXPECT_EQ(lengths.tokens[i], clean.token_count[row]);
    EXPECT_NEAR(lengths.probability[i], clean.probability[row], 1e-5F);
  }
  const Ended analysis = run_program({"analyse", out("whole")});
  EXPECT_EQ(analysis.code, 0) << analysis.all();
}

TEST_F(Toy, ItsUnitsAreContinuedAfterAKill) {
  ASSERT_EQ(run("whole").code, 0);
  {
    Program program({"run", config_, "--out", out("killed")}, toy());
    std::error_code ignored;
    while (program.running() &&
           std::filesystem::file_size(out("killed") + "/journal/main.journal", ignored) + 1 < 26000)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    program.signal_group(SIGKILL);
    program.wait();
  }
  const Ended continued = run("killed");
  EXPECT_EQ(continued.code, 0) << continued.all();
  EXPECT_THAT(continued.err, HasSubstr("of them from before"));
  EXPECT_EQ(lengths_in(ResultsReader(out("killed") + "/results.h5")),
            lengths_in(ResultsReader(out("whole") + "/results.h5")));
}

TEST_F(Toy, TheProjectKnowsNothingOfIt) {
  const Ended refused = run_program({"validate", config_});
  EXPECT_EQ(refused.code, kExitBadInput);
  EXPECT_THAT(refused.err, HasSubstr("key lengths: unknown key 'lengths'"));
}

}  // namespace
}  // namespace factflow::testing
