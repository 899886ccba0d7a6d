// Verdicts and sentences on effects that are made up: what they say must be what the data say.
#include "analysis/claims.hpp"

#include <limits>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "analysis/findings.hpp"

namespace factflow {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

EdgeEffect effect_at(const char* label, const char* family, double middle, double lowest) {
  EdgeEffect effect;
  effect.model = effect.family = family;
  const std::set<std::string> with_state = {"mamba", "mamba2", "falcon_mamba"};
  effect.mixing = with_state.contains(family) ? Mixing::kState : Mixing::kAttention;
  effect.edge = parse_edge(label);
  effect.n = 100;
  effect.facts = 50;
  effect.layers = 64;
  effect.lowest = {lowest, {lowest - 2, lowest + 2}, {}};
  effect.at_lowest = {lowest, lowest, -0.5, {-0.6, -0.4}};
  effect.depth = {middle, {middle - 0.02, middle + 0.02}, {}};
  effect.depth_middle = middle;
  effect.late = {5, {1, 9}, {}};
  effect.late_change = {5, 4, 0.04, {0.01, 0.07}};
  effect.p_value = 1e-8;
  effect.p_holm = 1e-6;
  effect.tests = 504;
  return effect;
}

Claim judge(const std::vector<EdgeEffect>& effects, std::size_t claim) {
  return judge_claims(effects, {}, {})[claim];
}
Verdict verdict(const std::vector<EdgeEffect>& effects, std::size_t claim) {
  return judge(effects, claim).verdict;
}

TEST(Claims, HoldFailOrCannotBeToldAsTheDataSay) {
  EXPECT_EQ(verdict({effect_at("subject->last", "gpt2", 0.7, -60)}, 0), Verdict::kHolds);
  EXPECT_EQ(verdict({effect_at("subject->last", "gpt2", 0.7, -60),
                     effect_at("subject->last", "mamba", 0.2, -60)},
                    0),
            Verdict::kDoesNotHold);
  EXPECT_EQ(verdict({effect_at("subject->last", "gpt2", 0.51, -60)}, 0), Verdict::kCannotTell);
  EXPECT_EQ(judge({}, 0).reason, "not in this run");
  EXPECT_EQ(verdict({effect_at("last->last", "mamba2", 0.1, -40)}, 4),
            Verdict::kCannotTell);  // not about Mamba-2
  const EdgeEffect falcon = effect_at("last->last", "falcon_mamba", 0.1, -40);
  EXPECT_EQ(verdict({falcon, effect_at("last->last", "mamba", 0.1, -40)}, 4), Verdict::kHolds);
  EXPECT_EQ(judge({falcon}, 4).reason, "no Mamba-1 in this run; it holds in falcon_mamba");
  EXPECT_EQ(judge({effect_at("subject->last", "gpt2", 0.51, -60)}, 0).reason, "undecided in gpt2");
}

// n = 13, -43.9 % [-70.5, -22.1], p = 0.06: no evidence for the claim, and none against it.
TEST(Claims, ThatNothingIsSignificantRefutesNothing) {
  EdgeEffect weak = effect_at("subject->last", "gpt2", 0.7, -43.9);
  weak.n = weak.facts = 13;
  weak.lowest.by_fact = {-70.5, -22.1};
  weak.p_holm = 0.06;
  const Claim claim = judge({weak}, 0);
  EXPECT_EQ(claim.verdict, Verdict::kCannotTell);
  EXPECT_EQ(claim.models[0].reason,
            "the drop is not significant: p = 0.06 after correction for 504 tests");
  EXPECT_THAT(claim.models[0].evidence, HasSubstr("median -43.9 %, log change -0.50"));
  weak.edge = parse_edge("relation->last");
  EXPECT_EQ(verdict({weak}, 3), Verdict::kCannotTell);
  weak.edge = parse_edge("first->last");
  EXPECT_EQ(verdict({weak}, 2), Verdict::kCannotTell);
  weak.mixing = Mixing::kState;
  EXPECT_EQ(verdict({weak}, 2), Verdict::kCannotTell);
}

TEST(Claims, ARiseAtEveryStartRefutesADrop) {
  EdgeEffect rises = effect_at("subject->last", "gpt2", 0.7, 140);
  EXPECT_EQ(verdict({rises}, 0), Verdict::kDoesNotHold);
  rises.lowest.by_fact.low = -3;
  EXPECT_EQ(judge({rises}, 0).models[0].reason, "no start has a mean below zero");
}

TEST(Claims, FewFactsDecideNothing) {
  EdgeEffect few = effect_at("subject->last", "gpt2", 0.7, -60);
  few.n = 36;
  few.facts = 9;  // in four phrasings
  few.lowest.by_fact = few.depth.by_fact = {kNan, kNan};
  const Claim claim = judge({few}, 0);
  EXPECT_EQ(claim.verdict, Verdict::kCannotTell);
  EXPECT_EQ(claim.models[0].reason, "36 prompts of 9 facts, asked are 10 facts");
  EXPECT_THAT(claim.models[0].evidence, HasSubstr("no interval"));
  few.n = few.facts = 1;
  EXPECT_EQ(judge({few}, 0).models[0].reason, "1 prompt of 1 fact, asked are 10 facts");
  few.n = few.facts = 0;
  few.missing = "not computed";
  EXPECT_EQ(judge({few}, 0).models[0].reason, "not computed");
}

TEST(Claims, AClaimAboutTwoKindsNeedsBoth) {
  const EdgeEffect depends = effect_at("first->last", "gpt2", 0.1, -40),
                   spared = effect_at("first->last", "mamba", 0.1, -3);
  EXPECT_EQ(verdict({depends, spared}, 2), Verdict::kHolds);
  EXPECT_EQ(verdict({depends}, 2), Verdict::kCannotTell);
  EXPECT_EQ(judge({depends}, 2).reason, "no Mamba model in this run; it holds in gpt2");
  EXPECT_EQ(judge({spared}, 2).reason, "no Transformer in this run; it holds in mamba");
  EXPECT_EQ(verdict({effect_at("first->last", "mamba", 0.1, -40)}, 2), Verdict::kDoesNotHold);
  EdgeEffect hybrid = effect_at("first->last", "hybrid", 0.1, -40);
  hybrid.mixing = Mixing::kBoth;
  EXPECT_EQ(judge({hybrid}, 2).reason, "not in this run");
}

TEST(Mixing, IsWhatTheLayersSay) {
  const auto mixing = [](std::vector<std::string> layers) {
    ModelInfo info;
    info.layer_blocks = std::move(layers);
    return mixing_of(info);
  };
  EXPECT_EQ(mixing({"attention, mlp", "attention + mlp"}), Mixing::kAttention);
  EXPECT_EQ(mixing({"mamba", "mamba2, mlp"}), Mixing::kState);
  EXPECT_EQ(mixing({"mamba", "attention, mlp"}), Mixing::kBoth);
  EXPECT_EQ(mixing({"attention + mamba"}), Mixing::kBoth);
}

TEST(Claims, ARiseThatFewPromptsMakeIsNotBelieved) {
  EdgeEffect e = effect_at("last->last", "mamba", 0.1, -40);
  e.late = {140, {20, 300}, {}};
  e.late_change = {140, -5, -0.1, {-0.3, 0.1}};
  EXPECT_EQ(verdict({e}, 4), Verdict::kCannotTell);
  EXPECT_THAT(judge({e}, 4).models[0].evidence, HasSubstr("median -5.0 %, log change -0.10"));
}

TEST(Claims, SharesOfAnEffectThatIsNoneDecideNothing) {
  ChannelRatio slow, fast;
  slow.model = fast.model = "mamba";
  slow.flow = fast.flow = "subject->last";
  slow.denominator = fast.denominator = "all";
  slow.numerator = "slow";
  fast.numerator = "fast";
  slow.n = slow.facts = fast.n = fast.facts = 50;
  slow.at_start = {0.8, {0.7, 0.9}, {}};
  fast.at_start = {0.1, {0.0, 0.2}, {}};
  EdgeEffect full = effect_at("subject->last", "mamba", 0.7, -60);
  EXPECT_EQ(judge_claims({full}, {slow, fast}, {})[1].verdict, Verdict::kHolds);
  full.p_holm = 0.5;
  EXPECT_EQ(judge_claims({full}, {slow, fast}, {})[1].verdict, Verdict::kCannotTell);
}

Study study_of(std::vector<EdgeEffect> effects) {
  Study study;
  study.window = 9;
  study.run.sources.resize(1);
  study.run.sources[0].info.complete = true;
  study.main_effects = std::move(effects);
  study.claims = judge_claims(study.main_effects, {}, {});
  return study;
}

TEST(Findings, SentencesSayThatBlockingLowersAndNameEachModel) {
  EdgeEffect second = effect_at("subject->last", "llama", 0.75, -40);
  EdgeEffect third = effect_at("subject->last", "mistral", 0.2, -4);
  third.p_holm = 0.4;
  const auto sentences =
      finding_sentences(study_of({effect_at("subject->last", "gpt2", 0, -60), second, third}));
  ASSERT_EQ(sentences.size(), 1U);
  EXPECT_EQ(
      sentences[0].text,
      "Blocking subject \u2192 last lowers the answer's probability in 2 of 3 Transformers: "
      "gpt2 by 60.0 % at relative depth 0.00 (median -60.0 %, log change -0.50), llama by 40.0 "
      "% at relative depth 0.75 (median -40.0 %, log change -0.50).");
}

TEST(Findings, WithoutAResultTheySaySo) {
  EdgeEffect effect = effect_at("subject->last", "gpt2", 0, -4);
  effect.p_holm = 0.4;
  const auto text = [&] { return finding_sentences(study_of({effect}))[0].text; };
  EXPECT_EQ(text(),
            "Blocking subject \u2192 last: no drop that can be told from zero in gpt2 "
            "(smallest corrected p 0.4000).");
  effect.lowest.value = 140;
  EXPECT_EQ(text(), "Blocking subject \u2192 last: no start has a mean below zero in gpt2.");
  effect.facts = 1;
  EXPECT_EQ(text(),
            "Blocking subject \u2192 last: too few facts to tell (1 at most, asked are 10).");
  effect.n = 0;
  effect.missing = "no prompt has this edge";
  EXPECT_EQ(text(), "Blocking subject \u2192 last: no prompt has this edge.");
}

TEST(Findings, TheTableHasNoIntervalOfOnePromptAndExplainsItsTests) {
  EdgeEffect one = effect_at("subject->last", "gpt2", 0, -1.9);
  one.n = one.facts = 1;
  one.lowest.by_fact = {kNan, kNan};
  one.p_value = one.p_holm = kNan;
  EdgeEffect rises = effect_at("last->last", "gpt2", 0, 140);
  const std::string text = findings_text(study_of({one, rises}));
  EXPECT_THAT(text, testing::ContainsRegex("-1\\.9 +- "));
  EXPECT_THAT(text, Not(HasSubstr("[-1.9")));
  EXPECT_THAT(text, Not(HasSubstr("nan")));
  EXPECT_THAT(text, Not(HasSubstr("drop %")));
  EXPECT_THAT(text, HasSubstr("Holm-corrected over the 504 tests of this table"));
  EXPECT_THAT(text, Not(HasSubstr("An interval may leave out zero")));
  EdgeEffect doubtful = effect_at("subject->last", "gpt2", 0, -40);
  doubtful.p_holm = 0.06;
  EXPECT_THAT(findings_text(study_of({doubtful})), HasSubstr("An interval may leave out zero"));
}

TEST(Findings, AMeanThatFewPromptsCarryIsWarnedAbout) {
  EdgeEffect effect = effect_at("subject->last", "gpt2", 0, -40);
  effect.half_carried_by = 2;
  EXPECT_THAT(findings_text(study_of({effect})), HasSubstr("gpt2 subject->last (2 of 100). Read "
                                                           "medians and log changes"));
  effect.half_carried_by = 30;
  EXPECT_THAT(findings_text(study_of({effect})), Not(HasSubstr("Few prompts")));
}

}  // namespace
}  // namespace factflow
