// Expected values: numpy.random.default_rng(SEED).permutation(COUNT) of numpy 1.24.2.
#include "pipeline/input/numpy_permutation.hpp"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace factflow {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(NumpyPermutation, EqualsNumpyForSmallCounts) {
  EXPECT_THAT(numpy_permutation(42, 0), IsEmpty());
  EXPECT_THAT(numpy_permutation(42, 1), ElementsAre(0));
  EXPECT_THAT(numpy_permutation(42, 10), ElementsAre(5, 6, 0, 7, 3, 2, 4, 9, 1, 8));
  EXPECT_THAT(numpy_permutation(0, 16),
              ElementsAre(2, 11, 3, 10, 0, 4, 7, 5, 14, 12, 6, 9, 13, 8, 1, 15));
  EXPECT_THAT(numpy_permutation(4294967295U, 7), ElementsAre(0, 6, 4, 5, 3, 2, 1));
}

TEST(NumpyPermutation, EqualsNumpyForALargeCount) {
  const auto order = numpy_permutation(7, 1000003);
  ASSERT_EQ(order.size(), 1000003U);
  EXPECT_THAT((std::vector(order.begin(), order.begin() + 3)), ElementsAre(668784, 141716, 135854));
  EXPECT_THAT((std::vector(order.end() - 3, order.end())), ElementsAre(420501, 410025, 346763));
}

TEST(NumpyPermutation, GivesTheReferenceNumbering) {
  // original_idx -> case_id of the reference code's test prompts, and both ends.
  const auto order = numpy_permutation(42, 21919);
  const std::pair<size_t, std::int64_t> pairs[] = {
      {0, 5113},     {53, 5564},     {59, 9910},   {74, 1892},   {90, 10494},
      {93, 9634},    {140, 4830},    {148, 659},   {159, 20843}, {182, 14567},
      {6410, 15963}, {10594, 13740}, {21918, 9864}};
  for (const auto& [original_idx, case_id] : pairs)
    EXPECT_EQ(order[original_idx], case_id) << original_idx;
}

TEST(NumpyPermutation, HoldsEachNumberOnce) {
  auto order = numpy_permutation(3, 1000);
  std::sort(order.begin(), order.end());
  for (size_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i], static_cast<std::int64_t>(i));
}

TEST(NumpyPermutation, RefusesCountsThatItWasNotMadeFor) {
  EXPECT_THROW(numpy_permutation(1, -1), std::invalid_argument);
  EXPECT_THROW(numpy_permutation(1, std::int64_t{1} << 32), std::invalid_argument);
}

}  // namespace
}  // namespace factflow
