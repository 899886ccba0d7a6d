// MPI that fails, and a rank that cannot read what it was sent: one line, and every rank ends.
#include <gmock/gmock.h>

#include "tests/system/program.hpp"
#include "tests/system/scenario.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

class MpiFault : public ::testing::TestWithParam<const char*> {
 protected:
  Ended run(const std::string& fault, int rank) const {
    Scenario scenario;
    scenario.limit = 2;
    scenario.models = {"gpt2"};
    scenario.knockouts = kKnockoutsOfTransformers;
    scenario.heatmaps = 0;
    const std::string config = scratch_.write("config.yaml", scenario.yaml());
    return run_program({"run", config, "--out", (scratch_.path() / "out").string()},
                       {.ranks = 2,
                        .patience = std::chrono::seconds(60),
                        .environment = {{"LD_PRELOAD", MPI_FAULT},
                                        {"FACTFLOW_MPI_FAULT", fault},
                                        {"FACTFLOW_MPI_FAULT_RANK", std::to_string(rank)}}});
  }
  TemporaryDirectory scratch_;
};

TEST_P(MpiFault, IsOneLineAndTheEndOfEveryRank) {
  const Ended ended = run(GetParam(), 1);
  EXPECT_EQ(ended.code, 1) << ended.all();
  ASSERT_THAT(ended.complaints(), SizeIs(1)) << ended.all();
  EXPECT_THAT(ended.complaints()[0], HasSubstr("failed: MPI_ERR_OTHER"));
}

INSTANTIATE_TEST_SUITE_P(Calls, MpiFault,
                         ::testing::Values("MPI_Comm_dup", "MPI_Comm_rank", "MPI_Comm_size",
                                           "MPI_Comm_free", "MPI_Comm_set_errhandler",
                                           "MPI_Finalize"),
                         [](const auto& test) { return std::string(test.param); });

// Up to e4b056d that rank left, and the others waited for it for half an hour.
TEST_F(MpiFault, ARankThatCannotReadTheJobEndsThemAll) {
  const Ended ended = run("garble", 1);
  EXPECT_EQ(ended.code, 1) << ended.all();
  ASSERT_THAT(ended.complaints(), SizeIs(1)) << ended.all();
  EXPECT_THAT(ended.complaints()[0], HasSubstr("rank 1 on "));
  EXPECT_THAT(ended.complaints()[0], HasSubstr("a job of"));
}

}  // namespace
}  // namespace factflow::testing
