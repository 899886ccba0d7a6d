// Verdicts on the claim about linear relations, of the published faithfulness and of made-up ones.
#include "analysis/relation_claims.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace factflow {
namespace {

using testing::HasSubstr;

ModelRelations relations(const std::vector<double>& faithfulness,
                         const std::vector<double>& drawn) {
  ModelRelations model;
  model.model = "mamba-2.8b";
  for (std::size_t i = 0; i < faithfulness.size(); ++i) {
    RelationScore& relation = model.relations.emplace_back();
    relation.squared_shares = drawn[i];
    relation.layers.resize(1);
    relation.layers[0].recall[0].value = faithfulness[i];
  }
  return model;
}

// Digitised from figure 6 of Sharma et al., Mamba-2.8b, and the ticks beside.
const std::vector<double> kFaithfulness = {.915, .829, .797, .754, .705, .678,
                                           .663, .57,  .56,  .559, .485, .481},
                          kDrawn = {.434, .57,  .139, .049, .199, .205,
                                    .049, .075, .205, .244, .073, .306};

Claim judge(const ModelRelations& model) {
  return judge_relation_claims({model}, 0.95)[0];
}

TEST(RelationClaims, HoldOfThePublishedFaithfulness) {
  const Claim claim = judge(relations(kFaithfulness, kDrawn));
  EXPECT_EQ(claim.verdict, Verdict::kHolds) << claim.models[0].reason;
  EXPECT_THAT(claim.models[0].evidence, HasSubstr("above 0.5 in 10 of 12 relations"));
  EXPECT_THAT(claim.source, HasSubstr("2404.03646"));
}

TEST(RelationClaims, DoNotHoldOfNoneAndAll) {
  EXPECT_EQ(judge(relations(kDrawn, kFaithfulness)).verdict, Verdict::kPartly);  // .57 is linear
  EXPECT_EQ(judge(relations(std::vector<double>(12, .1), kFaithfulness)).verdict,
            Verdict::kDoesNotHold);
  EXPECT_EQ(judge(relations(std::vector<double>(12, .9), kDrawn)).verdict, Verdict::kPartly);
  EXPECT_EQ(judge(relations(kDrawn, kDrawn)).verdict, Verdict::kCannotTell);
}

TEST(RelationClaims, CannotBeToldOfFewRelations) {
  const Claim claim = judge(relations({.9, .1}, {.1, .1}));
  EXPECT_EQ(claim.models[0].reason, "2 relations with numbers, asked are 10");
  EXPECT_TRUE(judge_relation_claims({}, 0.95).empty());
}

}  // namespace
}  // namespace factflow
