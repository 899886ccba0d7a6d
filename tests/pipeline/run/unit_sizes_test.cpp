#include "pipeline/run/unit_sizes.hpp"

#include <numeric>
#include <stdexcept>

#include <gmock/gmock.h>

namespace factflow {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(UnitSizes, AnEighthOfWhatIsLeftWithinTheLimits) {
  EXPECT_THAT(unit_sizes({{160, 16, 2}}).at(0), ElementsAre(16, 16, 16, 14, 13, 11, 10, 8, 7, 7, 6,
                                                            5, 4, 4, 3, 3, 3, 2, 2, 2, 2, 2, 2, 2));
  EXPECT_THAT(unit_sizes({{20, 8, 8}}).at(0), ElementsAre(8, 8, 4));
  EXPECT_THAT(unit_sizes({{5, 16, 16}}).at(0), ElementsAre(5));
  EXPECT_THAT(unit_sizes({{3, 1, 1}}).at(0), ElementsAre(1, 1, 1));
  EXPECT_THAT(unit_sizes({{0, 16, 2}}).at(0), IsEmpty());
}

TEST(UnitSizes, OnlyTheEndOfTheWholeListIsCutSmall) {
  const std::vector<std::vector<std::uint32_t>> sizes = unit_sizes({{100, 10, 1}, {400, 40, 5}});
  EXPECT_THAT(sizes.at(0), Each(10));
  EXPECT_EQ(sizes.at(1).front(), 40U);
  EXPECT_LE(sizes.at(1).back(), 5U);
  EXPECT_EQ(std::accumulate(sizes[1].begin(), sizes[1].end(), 0U), 400U);
}

TEST(UnitSizes, RefusesLimitsThatAreNone) {
  EXPECT_THROW(unit_sizes({{10, 4, 0}}), std::invalid_argument);
  EXPECT_THROW(unit_sizes({{10, 4, 5}}), std::invalid_argument);
}

}  // namespace
}  // namespace factflow
