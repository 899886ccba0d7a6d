#include <algorithm>

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "model/network.hpp"

namespace factflow {
namespace {

std::string chosen(const std::string& set, const std::vector<double>& norms) {
  std::string text;
  for (const bool loses : channels_of(parse_channel_set(set), norms)) text += loses ? 'x' : '.';
  return text;
}

// Seven channels: thirds of two.
const std::vector<double> kNorms = {0.1, 0.7, 0.3, 0.6, 0.2, 0.5, 0.4};

TEST(Channels, ThirdsByDecayNorm) {
  EXPECT_EQ(chosen("all", kNorms), "xxxxxxx");
  EXPECT_EQ(chosen("slow", kNorms), ".x.x...");
  EXPECT_EQ(chosen("fast", kNorms), "x...x..");
  EXPECT_EQ(chosen("not-slow", kNorms), "x.x.xxx");
  EXPECT_EQ(chosen("not-fast", kNorms), ".xxx.xx");
}

TEST(Channels, TiesGoInChannelOrder) {
  const std::vector<double> equal(6, 0.5);
  EXPECT_EQ(chosen("slow", equal), "xx....");
  EXPECT_EQ(chosen("fast", equal), "....xx");
  EXPECT_EQ(chosen("quantile 2/3", equal), "..xx..");
}

TEST(Channels, QuantilesPartitionTheChannels) {
  for (const int slices : {1, 2, 3, 5, 7, 9}) {
    std::vector<int> seen(kNorms.size(), 0);
    for (int slice = 1; slice <= slices; ++slice) {
      const std::vector<bool> loses =
          channels_of({ChannelSet::Kind::kQuantile, slice, slices}, kNorms);
      for (size_t i = 0; i < seen.size(); ++i) seen[i] += loses[i] ? 1 : 0;
    }
    EXPECT_EQ(seen, std::vector<int>(kNorms.size(), 1)) << slices;
  }
  EXPECT_EQ(chosen("quantile 1/7", kNorms), ".x.....");
  EXPECT_EQ(chosen("quantile 7/7", kNorms), "x......");
  EXPECT_EQ(chosen("quantile 2147483647/2147483647", kNorms), "x......");
}

TEST(Channels, EmptySetsAreKnownFromTheCountAlone) {
  EXPECT_TRUE(is_empty(parse_channel_set("slow"), 2));
  EXPECT_FALSE(is_empty(parse_channel_set("slow"), 3));
  EXPECT_FALSE(is_empty(parse_channel_set("not-slow"), 2));
  EXPECT_TRUE(is_empty(parse_channel_set("quantile 1/9"), 7));
  EXPECT_FALSE(is_empty(parse_channel_set("quantile 9/9"), 7));
  EXPECT_FALSE(is_empty(parse_channel_set("quantile 2147483647/2147483647"), 7));
  EXPECT_TRUE(is_empty(parse_channel_set("quantile 2147483000/2147483647"), 7));
}

}  // namespace
}  // namespace factflow
