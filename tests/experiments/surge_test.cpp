// The kind `surge`: what it stores is what the reference forward says, its parts sum to the whole,
// and what single tokens bring is what the mixing matrices hold.
#include "experiments/surge/surge.hpp"

#include <algorithm>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiments/surge/surge_numbers.hpp"
#include "tests/experiments/demo_facts.hpp"

namespace factflow {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr double kClose = 1e-7;

class SurgeKindTest : public DemoFacts {
 protected:
  SurgeKindTest() : DemoFacts(surge_kind()) {}

  bool transformer() const { return GetParam() == "gpt2" || GetParam() == "llama"; }

  Block itself(const TokenizedPrompt& prompt, int window) const {
    const int last = static_cast<int>(prompt.ids.size()) - 1;
    return block({last}, last, window);
  }
  Block block(std::vector<int> sources, int target, int window) const {
    Block block;
    for (int layer = layers() - window; layer < layers(); ++layer) block.layers.push_back(layer);
    block.sources = std::move(sources);
    block.targets = {target};
    return block;
  }
  // A stored number of fact `fact`, of arrays [prompt, ...] with `size` numbers each.
  double stored(const std::string& name, size_t fact, size_t place, size_t size,
                int window = 3) const {
    return array<double>("surge/layers_" + std::to_string(window), name).at(fact * size + place);
  }
  at::Tensor site(const TokenizedPrompt& prompt, const std::vector<Intervention>& together,
                  SiteAt at) const {
    const ReferenceForward forward(model_->network());
    const std::vector<SiteAt> sites = {at};
    return forward.run(prompt.ids, together, sites).values.at(at)[-1];
  }
};

TEST_P(SurgeKindTest, StoresWhatTheReferenceForwardSays) {
  compute(plan("{layers: 3}"));
  const ReferenceForward forward(model_->network());
  double largest = 0;
  for (const size_t fact : {size_t{0}, size_t{3}}) {
    const TokenizedPrompt prompt = tokens_of(fact);
    const at::Tensor clean = forward.log_probabilities(prompt.ids),
                     knocked = forward.log_probabilities(
                         prompt.ids, std::vector<Intervention>{itself(prompt, 3)});
    const double before = clean[prompt.answer].item<double>(),
                 after = knocked[prompt.answer].item<double>();
    EXPECT_NEAR(stored("log_probability", fact, kClean, 2), before, kClose);
    EXPECT_NEAR(stored("log_probability", fact, kKnocked, 2), after, kClose);
    double sum = 0;
    for (size_t part = 0; part < kParts; ++part) sum += stored("part_value", fact, part, kParts);
    EXPECT_NEAR(sum, after - before, kClose);
    largest = std::max(largest, std::abs(after - before));

    // The tokens that lose.
    at::Tensor loss = clean.exp() - knocked.exp();
    loss[prompt.answer] = 0;
    loss = loss.clamp_min(0);
    EXPECT_NEAR(array<double>("surge/layers_3", "lost").at(fact), loss.sum().item<double>(),
                kClose);
    const auto first =
        static_cast<size_t>(array<std::int32_t>("surge/layers_3", "loser_token").at(fact * 5));
    EXPECT_NEAR(loss[static_cast<std::int64_t>(first)].item<double>(), loss.max().item<double>(),
                kClose);
  }
  EXPECT_GT(largest, 1e-4);  // or nothing would be tested
}

TEST_P(SurgeKindTest, TheLensEndsAtTheAnswerAndBeginsCleanBelowTheWindow) {
  compute(plan("{layers: 3}"));
  const size_t depths = static_cast<size_t>(layers()) + 1;
  for (size_t fact = 0; fact < prompts_.size(); ++fact) {
    for (size_t depth = 0; depth + 3 < depths; ++depth)
      EXPECT_NEAR(stored("lens_answer", fact, depth, 2 * depths),
                  stored("lens_answer", fact, depths + depth, 2 * depths), 1e-9);
    for (const size_t run : {kClean, kKnocked})
      EXPECT_NEAR(stored("lens_answer", fact, run * depths + depths - 1, 2 * depths),
                  stored("log_probability", fact, run, 2), 1e-9);
  }
}

// What all components write, at the clean run's scale, is the answer's logit less the mean one, and
// nothing is left over.
TEST_P(SurgeKindTest, WhatIsWrittenIsTheLogit) {
  compute(plan("{layers: 2}"));
  const auto& components = axis<std::string>("surge/layers_2", "component");
  EXPECT_EQ(components.front(), "embedding");
  EXPECT_EQ(components.back(), "rest");
  const ReferenceForward forward(model_->network());
  const size_t fact = 1, count = components.size();
  const TokenizedPrompt prompt = tokens_of(fact);
  const at::Tensor stream = site(prompt, {}, {Site::kH, layers()});
  const SplitLogits split = split_logits(model_->network(), stream).value();
  const at::Tensor logits = forward.run(prompt.ids).logits[-1];
  EXPECT_LT((split.logits().log_softmax(-1) - logits.log_softmax(-1)).abs().max().item<double>(),
            1e-9);
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += stored("answer_written", fact, i, 2 * count, 2);
  EXPECT_NEAR(sum, split.scale * split.direct[prompt.answer].item<double>(), 1e-8);
  for (const size_t run : {kClean, kKnocked})
    EXPECT_NEAR(stored("answer_written", fact, run * count + count - 1, 2 * count, 2), 0, 1e-8);
}

// Attention: the weights are those with which the values of all tokens make up the head's output.
TEST_P(SurgeKindTest, WeightsAreThoseOfTheMixingMatrix) {
  compute(plan("{layers: 1}"));
  const size_t fact = 2;
  const TokenizedPrompt prompt = tokens_of(fact);
  const int last = static_cast<int>(prompt.ids.size()) - 1, layer = layers() - 1;
  const double first = stored("weight", fact, kFromFirst, kSources, 1),
               itself = stored("weight", fact, kFromItself, kSources, 1),
               others = stored("weight", fact, kFromOthers, kSources, 1);
  EXPECT_NEAR(first + itself + others, 1, 1e-9);
  const SiteAt at{Site::kS, layer};
  const at::Tensor s = site(prompt, {}, at);
  if (!transformer()) {
    const auto without = [&](int source) {
      return (s - site(prompt, {block({source}, last, 1)}, at)).norm().item<double>();
    };
    EXPECT_NEAR(first / itself, without(0) / without(last), 1e-7);
    return;
  }
  const int heads = 4;
  std::vector<at::Tensor> values;  // [token] what a head gives that reads it alone
  for (int token = 0; token <= last; ++token) {
    std::vector<int> rest;
    for (int other = 0; other <= last; ++other)
      if (other != token) rest.push_back(other);
    values.push_back(site(prompt, {block(rest, last, 1)}, at).reshape({heads, -1}));
  }
  const at::Tensor v = at::stack(values).permute({1, 2, 0}),  // [head, width, token]
      w = std::get<0>(at::linalg_lstsq(v, s.reshape({heads, -1, 1}))).squeeze(-1);
  EXPECT_NEAR(w.sum().item<double>(), heads, 1e-6);
  EXPECT_NEAR(first, w.select(1, 0).mean().item<double>(), 1e-6);
  EXPECT_NEAR(itself, w.select(1, last).mean().item<double>(), 1e-6);
}

TEST_P(SurgeKindTest, DefaultsAreAsLargeAPartAsNineOf64) {
  compute(plan("{}"));
  EXPECT_THAT(axis<std::int32_t>("surge/layers_2", "layer"),
              ElementsAre(layers() - 2, layers() - 1));
  EXPECT_THAT(array<std::int32_t>("surge/layers_2", "status"), Each(1));
  EXPECT_THAT(array<std::string>("surge/layers_2", "competitor_text"), SizeIs(prompts_.size()));
}

TEST_P(SurgeKindTest, SeveralWindowsShareAPass) {
  compute(plan("{layers: [1, 4]}"));
  const double apart = [&] {
    const double both = stored("log_probability", 0, kKnocked, 2, 4);
    compute(plan("{layers: 4}"));
    return both - stored("log_probability", 0, kKnocked, 2, 4);
  }();
  EXPECT_NEAR(apart, 0, 1e-12);
}

TEST_P(SurgeKindTest, RefusesWhatCannotBe) {
  EXPECT_THAT(refused("{layers: 99}"), HasSubstr("key surge.layers: a window of 99"));
  EXPECT_THAT(refused("{layers: 0}"), HasSubstr("surge.layers"));
  EXPECT_THAT(refused("{losers: 0}"), HasSubstr("surge.losers"));
  EXPECT_THAT(refused("[{losers: 3}, {losers: 4}]"), HasSubstr("other losers in an earlier entry"));
}

TEST_P(SurgeKindTest, IsWrittenAsItIsRead) {
  const Entries entries = entries_in("{layers: [2, 5], losers: 3, prompts: 7}");
  const YamlNode written = surge_kind().form().write(entries, Purpose::kResolved).value();
  const auto& read = static_cast<const SurgeConfig&>(*entries.at(0));
  EXPECT_EQ(read, static_cast<const SurgeConfig&>(*entries_in(write_yaml(written)).at(0)));
  EXPECT_EQ(read.losers, 3);
}

INSTANTIATE_TEST_SUITE_P(Models, SurgeKindTest,
                         ::testing::Values("gpt2", "llama", "mamba", "mamba2", "falcon_mamba"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::erase(name, '_');
                           return name;
                         });

// ---- pure

at::Tensor numbers(std::vector<double> values) {
  const auto count = static_cast<std::int64_t>(values.size());
  return at::tensor(at::ArrayRef<double>(values), at::kDouble).reshape({count});
}

// All orders in which the parts may change, one by one.
TEST(SurgeParts, AreShapleyValues) {
  const SplitLogits clean{1.5, numbers({1, 0.5, -1, 0.2, -0.7}), numbers({0, 0.1, 0, 0.2, 0})},
      knocked{0.8, numbers({1.4, -0.9, -0.6, 0.4, -0.3}), numbers({0, 0.1, 0, 0.2, 0})};
  const auto log_p = [&](const std::array<bool, kParts>& changed) {
    at::Tensor direct = (changed[kOtherTokens] ? knocked : clean).direct.clone();
    direct[0] = (changed[kOwnLogit] ? knocked : clean).direct[0];
    direct[1] = (changed[kCompetitor] ? knocked : clean).direct[1];
    return ((changed[kScale] ? knocked : clean).scale * direct + clean.constant)
        .log_softmax(0)[0]
        .item<double>();
  };
  std::array<double, kParts> expected{};
  std::array<size_t, kParts> order{};
  std::iota(order.begin(), order.end(), size_t{0});
  int orders = 0;
  do {
    std::array<bool, kParts> changed{};
    for (const size_t part : order) {
      const double before = log_p(changed);
      changed[part] = true;
      expected[part] += log_p(changed) - before;
    }
    ++orders;
  } while (std::next_permutation(order.begin(), order.end()));
  const auto parts = change_parts(clean, knocked, 0, 1);
  double sum = 0;
  for (size_t part = 0; part < kParts; ++part) {
    EXPECT_NEAR(parts[part], expected[part] / orders, 1e-12) << part;
    sum += parts[part];
  }
  EXPECT_NEAR(sum, log_p({true, true, true, true}) - log_p({}), 1e-12);
}

// Only the competitor's logit falls: all of the change is its.
TEST(SurgeParts, OfOnePartAreThatPart) {
  const SplitLogits clean{1, numbers({1, 2, 0}), numbers({0, 0, 0})};
  SplitLogits knocked{1, numbers({1, -2, 0}), numbers({0, 0, 0})};
  const auto parts = change_parts(clean, knocked, 0, 1);
  EXPECT_GT(parts[kCompetitor], 0.5);
  EXPECT_NEAR(parts[kOwnLogit], 0, 1e-15);
  EXPECT_NEAR(parts[kOtherTokens], 0, 1e-15);
  EXPECT_NEAR(parts[kScale], 0, 1e-15);
}

}  // namespace
}  // namespace factflow
