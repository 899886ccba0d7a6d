// Verdicts on claims of causal traces: crossings by hand, and the published curves, which must say
// what the paper says.
#include "analysis/trace_claims.hpp"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "analysis/statistics.hpp"

namespace factflow {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

BootstrapOptions quick() {
  BootstrapOptions options;
  options.resamples = 200;
  return options;
}

// Points of a curve, linear between and constant beyond.
struct Points {
  std::vector<double> layers, effects;
  double at(double layer) const { return interpolate(layers, effects.data(), layer); }
};

// Every fact has the curves times its own factor near 1.
TraceAverage map_of(const std::string& site, std::int64_t window, std::int64_t layers,
                    const Points& subject, const Points& prompt, std::size_t facts = 12) {
  TraceAverage map;
  map.site = site;
  map.window = window;
  map.layers = layers;
  const auto centres = static_cast<std::int32_t>(site == "h" ? layers + 1 : layers);
  for (std::int32_t centre = 0; centre < centres; ++centre) map.centres.push_back(centre);
  for (std::size_t fact = 0; fact < facts; ++fact) {
    LastTokens tokens{fact, fact, true, {}, {}};
    const double taste = 0.95 + 0.1 * static_cast<double>(fact) / static_cast<double>(facts);
    for (const std::int32_t centre : map.centres) {
      const double layer = published_layer(site, centre);
      tokens.of_subject.push_back(taste * subject.at(layer));
      tokens.of_prompt.push_back((2 - taste) * prompt.at(layer));
    }
    map.last_tokens.push_back(std::move(tokens));
  }
  return map;
}

const Points kNothing = {{0}, {0}};

// Digitised from figures 2 and 3 of Sharma et al.; 0.8 and 0.5 are where their colours end.
ModelTraces mamba() {
  const Points h_subject = {{0, 10, 15, 20, 24, 36, 42, 43, 44, 45, 46, 47},
                            {.04, .2, .4, .5, .57, .57, .53, .28, .2, .08, .08, 0}},
               h_prompt = {{43, 44, 45, 46, 47}, {0, .08, .24, .27, .8}},
               o_subject = {{11, 17, 19, 24, 26, 40}, {.4, .5, .5, .4, .18, 0}},
               o_prompt = {{37, 43, 52, 53, 54}, {0, .5, .5, .3, 0}},
               s_prompt = {{37, 43, 52, 53, 54}, {0, .5, .5, .19, 0}},
               g_prompt = {{40, 48, 56}, {0, .04, 0}};
  return {"mamba-2.8b",
          64,
          Mixing::kState,
          false,
          Corruption::kSubject,
          0,
          0,
          {},
          {map_of("h", 1, 64, h_subject, h_prompt), map_of("o", 10, 64, o_subject, o_prompt),
           map_of("s", 10, 64, kNothing, s_prompt), map_of("g", 10, 64, kNothing, g_prompt)}};
}

ModelTraces pythia() {
  const Points h_subject = {{0, 1, 15, 16, 21}, {.48, .5, .5, .28, 0}},
               h_prompt = {{15, 16, 18, 21, 22}, {0, .1, .4, .73, .8}},
               attention = {{9, 12, 14, 15, 17, 21, 22, 24, 28, 31},
                            {.02, .14, .5, .64, .8, .8, .74, .39, .12, .06}},
               mlp = {{0, 31}, {.08, .12}};
  return {"pythia-2.8b",
          32,
          Mixing::kAttention,
          false,
          Corruption::kSubject,
          0,
          0,
          {},
          {map_of("h", 1, 32, h_subject, h_prompt), map_of("o", 5, 32, kNothing, attention),
           map_of("mlp", 5, 32, kNothing, mlp)}};
}

std::vector<Claim> judge(const std::vector<ModelTraces>& traces) {
  return judge_trace_claims(traces, quick());
}

TEST(TransferDepths, AreWhereTheCurvesCrossLast) {
  const Points subject = {{-1, 0, 1, 2, 3}, {.6, 0, .4, .1, 0}},
               prompt = {{-1, 0, 1, 2, 3}, {0, .1, .2, .5, 1}};
  TraceAverage map = map_of("h", 1, 4, subject, prompt, 1);
  for (LastTokens& tokens : map.last_tokens) {
    tokens.of_subject = subject.effects;
    tokens.of_prompt = prompt.effects;
  }
  const TransferDepth depth = transfer_depth(map, quick());
  EXPECT_NEAR(depth.layer, 1 + 0.2 / 0.6, 1e-12);  // differences -0.2 and 0.4; -1 to 0 is the first
  EXPECT_TRUE(std::isnan(depth.interval.low)) << "one fact has no interval";
  // A subject at the prompt's end says nothing, nor does a prompt without a value.
  map.last_tokens.push_back({1, 1, false, {9, 9, 9, 9, 9}, {0, 0, 0, 0, 0}});
  map.last_tokens.push_back({2, 2, true, {9, kNan, 9, 9, 9}, {0, 0, 0, 0, 0}});
  EXPECT_EQ(transfer_depth(map, quick()).prompts, 1U);
  EXPECT_EQ(transfer_depth(map, quick()).layer, depth.layer);
  map.last_tokens[0].of_prompt = std::vector<double>(5, 1);
  EXPECT_TRUE(std::isnan(transfer_depth(map, quick()).layer));
}

TEST(TransferDepths, HaveAnIntervalOverFacts) {
  const TransferDepth depth = transfer_depth(mamba().averages[0], quick());
  EXPECT_NEAR(depth.layer, 44.43, 0.02);  // 44 + 0.12 / 0.28
  EXPECT_LT(depth.interval.low, depth.layer);
  EXPECT_GT(depth.interval.high, depth.layer);
  EXPECT_EQ(depth.facts, 12U);
}

TEST(TraceClaims, HoldOfThePublishedCurves) {
  const std::vector<Claim> claims = judge({mamba(), pythia()});
  ASSERT_EQ(claims.size(), 3U);
  for (const Claim& claim : claims) {
    EXPECT_EQ(claim.verdict, Verdict::kHolds)
        << claim.text << ": " << claim.models[0].reason << " " << claim.models[1].reason;
    EXPECT_EQ(claim.models.size(), 2U);
    EXPECT_THAT(claim.source, HasSubstr("2404.03646"));
  }
  EXPECT_THAT(claims[2].models[0].evidence, HasSubstr("layer 44.4"));
  EXPECT_THAT(claims[2].models[1].evidence, HasSubstr("of 32, depth 0.5"));
  EXPECT_THAT(judge({}), IsEmpty());
}

TEST(TraceClaims, DoNotHoldOfTheOpposite) {
  ModelTraces turned = mamba();
  for (TraceAverage& map : turned.averages)
    for (LastTokens& tokens : map.last_tokens) std::swap(tokens.of_subject, tokens.of_prompt);
  std::swap(turned.averages[2].site, turned.averages[3].site);  // s and g
  const std::vector<Claim> claims = judge({turned});
  EXPECT_EQ(claims[0].verdict, Verdict::kDoesNotHold);
  EXPECT_EQ(claims[1].verdict, Verdict::kDoesNotHold);
  EXPECT_THAT(claims[2].models[0].reason, HasSubstr("do not cross"));
}

TEST(TraceClaims, HoldInPartWhereOneHalfIsRefuted) {
  ModelTraces early = mamba();
  for (LastTokens& tokens : early.averages[0].last_tokens)
    for (std::size_t i = 40; i < tokens.of_prompt.size(); ++i)
      tokens.of_prompt[i] = tokens.of_subject[i] = 0.3;
  const std::vector<Claim> claims = judge({early, pythia()});
  EXPECT_EQ(claims[0].verdict, Verdict::kPartly);
  EXPECT_EQ(claims[0].reason, "evidence against a part of it in mamba-2.8b");
  EXPECT_EQ(claims[0].models[0].reason,
            "early: the interval lies above 0.10; late: the interval lies below 0.10");
}

TEST(TraceClaims, CannotBeToldOfTooLittle) {
  ModelTraces few = mamba();
  for (TraceAverage& map : few.averages) map.last_tokens.resize(9);
  for (const Claim& claim : judge({few})) {
    EXPECT_EQ(claim.verdict, Verdict::kCannotTell) << claim.text;
    EXPECT_EQ(claim.models[0].reason, "9 prompts of 9 facts, asked are 10 facts");
  }
  ModelTraces alone = mamba();
  alone.averages = {alone.averages[2]};  // s
  const std::vector<Claim> claims = judge({alone});
  EXPECT_EQ(claims[0].reason, "not in this run");
  EXPECT_EQ(claims[1].verdict, Verdict::kCannotTell);
  EXPECT_THAT(claims[1].models[0].reason, HasSubstr("g was not traced"));
  ModelTraces broken = mamba();
  for (TraceAverage& map : broken.averages) map.direction = TraceDirection::kBreak;
  for (const Claim& claim : judge({broken})) EXPECT_EQ(claim.reason, "not in this run");
}

TEST(TraceClaims, CountACheckpointOnceAndNoHybridsForKindsOfModels) {
  ModelTraces again = mamba(), hybrid = pythia();
  again.repeated = true;
  hybrid.mixing = Mixing::kBoth;
  const std::vector<Claim> claims = judge({mamba(), again, hybrid});
  EXPECT_EQ(claims[0].models.size(), 2U);
  EXPECT_EQ(claims[1].models.size(), 1U);
  EXPECT_EQ(claims[2].models.size(), 1U);
}

TEST(TraceClaims, OfTheMoveAreAboutItsPlace) {
  ModelTraces early = mamba();
  early.mixing = Mixing::kAttention;  // whose move is at the middle
  early.averages = {early.averages[0]};
  const std::vector<Claim> claims = judge({early});
  EXPECT_EQ(claims[2].verdict, Verdict::kDoesNotHold);
  EXPECT_THAT(claims[2].models[0].reason, HasSubstr("lies outside 0.49 to 0.57"));
}

}  // namespace
}  // namespace factflow
