#include "model/knockout.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"

namespace factflow {
namespace {

TEST(TokenRole, NamesGoThereAndBack) {
  EXPECT_EQ(token_role_names().size(), 8u);
  for (const std::string& name : token_role_names())
    EXPECT_EQ(to_string(parse_token_role(name)), name);
  EXPECT_EQ(parse_token_role("relation-minus-last"), TokenRole::kRelationMinusLast);
  EXPECT_EQ(parse_token_role("each"), TokenRole::kEach);
}

TEST(TokenRole, AnUnknownNameGetsTheNearestOne) {
  try {
    parse_token_role("subjekt");
    FAIL() << "no error";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("did you mean 'subject'"));
  }
}

TEST(ChannelSet, NamesGoThereAndBack) {
  for (const char* name :
       {"all", "slow", "fast", "not-slow", "not-fast", "quantile 1/1", "quantile 2/5"}) {
    EXPECT_EQ(to_string(parse_channel_set(name)), name);
  }
  const ChannelSet expected = {ChannelSet::Kind::kQuantile, 2, 5};
  EXPECT_EQ(parse_channel_set("quantile 2/5"), expected);
}

TEST(ChannelSet, WhatIsNoSetIsRefused) {
  for (const char* name : {"", "quick", "quantile", "quantile ", "quantile 0/5", "quantile 6/5",
                           "quantile 1/0", "quantile -1/5", "quantile 1/5x", "quantile 1",
                           "quantile 1/", "quantile /5", "quantile 99999999999/99999999999"}) {
    EXPECT_THROW(parse_channel_set(name), InputError) << name;
  }
}

TEST(CountEdges, CountsPairsThatLookBack) {
  EXPECT_EQ(count_edges({7}, {0, 1, 2}), 3);
  EXPECT_EQ(count_edges({1}, {0, 1, 2}), 2);
  EXPECT_EQ(count_edges({0}, {1, 2}), 0);
  EXPECT_EQ(count_edges({1, 2, 3}, {1, 2, 3}), 6);
  EXPECT_EQ(count_edges({}, {1}), 0);
}

}  // namespace
}  // namespace factflow
