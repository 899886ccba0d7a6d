// A run whose kernels are wrong ends before it stores a number.
#include <filesystem>

#include <gmock/gmock.h>

#include "tests/system/program.hpp"
#include "tests/system/scenario.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow::testing {
namespace {

using ::testing::HasSubstr;

std::string sweep_of_mamba2(const std::string& run) {
  Scenario scenario = tiny();
  scenario.limit = 4;
  scenario.models = {"mamba2"};
  scenario.select = "none";
  scenario.windows = "[1, 2, 3, 4]";
  scenario.knockouts = "    - {from: [subject, relation, first], to: last}\n";
  std::string yaml = scenario.yaml();
  yaml.replace(yaml.find("run: {"), 6, "run: {" + run);
  return yaml;
}

TEST(FaultyKernels, AreFoundBeforeAUnitIsStored) {
  const TemporaryDirectory scratch;
  const std::string out = (scratch / "run").string();
  const Ended ended =
      run_program({"run", scratch.write("sweep.yaml", sweep_of_mamba2("")).string(), "--out", out},
                  {.program = FAULTY_PROGRAM});
  EXPECT_EQ(ended.code, 1) << ended.all();
  EXPECT_THAT(ended.err, HasSubstr("model mamba2: the engine does not agree with whole forwards"));
  EXPECT_THAT(ended.err, HasSubstr("run: {self_check: off}"));
  EXPECT_FALSE(std::filesystem::exists(out));
}

TEST(FaultyKernels, AreNotLookedForWhereTheCheckIsOff) {
  const TemporaryDirectory scratch;
  const std::string out = (scratch / "run").string();
  const Ended ended = run_program(
      {"run", scratch.write("sweep.yaml", sweep_of_mamba2("self_check: off, ")).string(), "--out",
       out},
      {.program = FAULTY_PROGRAM});
  EXPECT_EQ(ended.code, 0) << ended.all();
}

}  // namespace
}  // namespace factflow::testing
