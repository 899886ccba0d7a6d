#include "pipeline/input/prompt_filter.hpp"

#include <algorithm>

#include "tests/expect_input_error.hpp"

namespace factflow {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Ids 10, 11, 12, ... with the relations a, b, a, b, ...
std::vector<Prompt> some_prompts(int count) {
  std::vector<Prompt> prompts;
  for (int i = 0; i < count; ++i) {
    prompts.push_back({.id = 10 + i,
                       .text = "t",
                       .subject = "t",
                       .answer = " x",
                       .relation = i % 2 == 0 ? "a" : "b"});
  }
  return prompts;
}

std::string error_of(const DatasetConfig& config) {
  return input_error_of([&] { filter_prompts(some_prompts(10), config); });
}

TEST(PromptFilter, KeepsEverythingByDefault) {
  EXPECT_EQ(filter_prompts(some_prompts(10), {}).size(), 10U);
}

TEST(PromptFilter, AppliesTheFiltersInOrder) {
  EXPECT_THAT(filter_prompts(some_prompts(6), {.relations = {"b"}}), ElementsAre(1, 3, 5));
  EXPECT_THAT(filter_prompts(some_prompts(6), {.ids = {15, 10}}), ElementsAre(0, 5));
  EXPECT_THAT(filter_prompts(some_prompts(6), {.limit = 2, .relations = {"b"}}), ElementsAre(1, 3));
  EXPECT_THAT(filter_prompts(some_prompts(6), {.relations = {"b"}, .ids = {10, 13}}),
              ElementsAre(3));
  EXPECT_EQ(filter_prompts(some_prompts(6), {.limit = 100}).size(), 6U);
  const auto sampled = filter_prompts(some_prompts(100), {.sample = 10, .seed = 3});
  const auto limited = filter_prompts(some_prompts(100), {.limit = 4, .sample = 10, .seed = 3});
  EXPECT_EQ(limited, std::vector(sampled.begin(), sampled.begin() + 4));
}

TEST(PromptFilter, RefusesWhatIsNotThere) {
  EXPECT_THAT(error_of({.path = "f", .ids = {10, 99}}),
              HasSubstr("f: no usable prompt has the id 99"));
  EXPECT_THAT(error_of({.path = "f", .relations = {"c"}}), HasSubstr("unknown relation 'c'"));
  EXPECT_THAT(error_of({.path = "f", .relations = {"a"}, .ids = {11}}),
              HasSubstr("no prompt is left"));
  std::vector<Prompt> without = some_prompts(1);
  without[0].relation = "";
  EXPECT_THAT(input_error_of([&] { filter_prompts(without, {.path = "f", .relations = {"a"}}); }),
              HasSubstr("no prompt names its relation"));
}

// Fixed values: a sample must be the same on every machine and in every later version.
TEST(PromptFilter, SamplesAreReproducible) {
  EXPECT_THAT(sample_positions(10, 4, 0), ElementsAre(3, 4, 6, 9));
  EXPECT_THAT(sample_positions(1000, 5, 42), ElementsAre(58, 249, 406, 897, 958));
  EXPECT_NE(sample_positions(1000, 5, 42), sample_positions(1000, 5, 43));
  EXPECT_THAT(sample_positions(3, 5, 1), ElementsAre(0, 1, 2));
}

TEST(PromptFilter, SamplesAreEvenlySpread) {
  std::vector<int> counts(10);
  for (std::uint64_t seed = 0; seed < 3000; ++seed)
    for (const size_t i : sample_positions(10, 3, seed)) ++counts[i];
  for (const int count : counts) EXPECT_NEAR(count, 900, 125);  // 5 standard deviations
}

}  // namespace
}  // namespace factflow
