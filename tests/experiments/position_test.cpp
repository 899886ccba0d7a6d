// The kind `position`: neutral tokens stand where they should, and answers are what the reference
// forward says of the longer prompts.
#include "experiments/position/position.hpp"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/experiments/demo_facts.hpp"

namespace factflow {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kTexts = "texts: [(as every school book says), (if memory serves)]";

class PositionKindTest : public DemoFacts {
 protected:
  PositionKindTest() : DemoFacts(position_kind()) {}

  PlannedWork planned(const std::string& keys) const {
    return plan("{windows: {sizes: 3}, " + keys + ", " + kTexts + "}");
  }
  size_t item(const std::string& name) const {
    const auto& items = axis<std::string>("position", "item");
    return static_cast<size_t>(std::find(items.begin(), items.end(), name) - items.begin());
  }
  double log_change(const std::string& name, size_t fact, size_t start) const {
    const size_t starts = static_cast<size_t>(layers()) - 2;
    return static_cast<double>(array<float>("position/window_3", "log_change")
                                   .at((item(name) * prompts_.size() + fact) * starts + start));
  }
  std::vector<int> neutral(size_t fact, size_t length) const {
    const auto& all = array<std::int32_t>("position", "neutral");
    const size_t longest = axis<std::int32_t>("position", "token").size();
    const auto end = all.begin() + static_cast<std::ptrdiff_t>((fact + 1) * longest);
    return {end - static_cast<std::ptrdiff_t>(length), end};
  }
};

TEST_P(PositionKindTest, StoresWhatTheReferenceForwardSays) {
  compute(planned("from: [subject, first], lengths: [2, 9]"));
  const size_t fact = 4, start = 5;
  const TokenizedPrompt prompt = tokens_of(fact);
  double largest = 0;
  for (const std::string place : {"before", "between"})
    for (const size_t length : {size_t{0}, size_t{2}, size_t{9}}) {
      // By hand: no special tokens begin the prompts of the demo kit.
      const std::vector<int> tokens = neutral(fact, length);
      const size_t at = place == "before" ? 0 : static_cast<size_t>(prompt.subject.back()) + 1;
      std::vector<int> ids = prompt.ids, subject = prompt.subject;
      ids.insert(ids.begin() + static_cast<std::ptrdiff_t>(at), tokens.begin(), tokens.end());
      if (place == "before")
        for (int& position : subject) position += static_cast<int>(length);
      Block block;
      for (int layer = static_cast<int>(start); layer < static_cast<int>(start) + 3; ++layer)
        block.layers.push_back(layer);
      block.sources = subject;
      block.targets = {static_cast<int>(ids.size()) - 1};
      const double clean = probability(ids, prompt.answer),
                   blocked = probability(ids, prompt.answer, {block});
      const std::string name = "subject->last | " + place + " " + std::to_string(length);
      EXPECT_NEAR(log_change(name, fact, start), std::log(blocked / clean), 1e-5) << name;
      const size_t cell = item(name) * prompts_.size() + fact;
      EXPECT_NEAR(array<double>("position", "clean_log_probability")[cell], std::log(clean), 1e-9);
      EXPECT_EQ(array<std::int32_t>("position", "subject_at")[cell], subject.front());
      EXPECT_EQ(array<std::int32_t>("position", "distance")[cell],
                block.targets[0] - subject.back());
      largest = std::max(largest, std::abs(std::log(blocked / clean)));
    }
  EXPECT_GT(largest, 1e-3);  // or nothing would be tested
}

TEST_P(PositionKindTest, TheNeutralTokensAreDrawnAndShorterOnesAreTheirEnds) {
  compute(planned("from: subject, lengths: 12, seed: 4"));
  const auto first = array<std::int32_t>("position", "neutral");
  compute(planned("from: subject, lengths: 12, seed: 4"));
  EXPECT_EQ(array<std::int32_t>("position", "neutral"), first);
  compute(planned("from: subject, lengths: 12, seed: 5"));
  EXPECT_NE(array<std::int32_t>("position", "neutral"), first);
}

// 300 tokens where the model has as many positions; a GPT-2 of 64 has not.
TEST_P(PositionKindTest, GoesAsFarAsThePositionsAllow) {
  if (GetParam() == "gpt2") {
    EXPECT_THAT(
        refused(std::string("{windows: {sizes: 3}, from: subject, lengths: 300, ") + kTexts + "}"),
        HasSubstr("key position.lengths: 300 neutral tokens do not fit model any, which has "
                  "64 positions"));
    // With the prompt's own tokens 63 do not fit either: there is no number, and no failure.
    compute(planned("from: subject, lengths: 63"));
    EXPECT_TRUE(std::isnan(log_change("subject->last | between 63", 0, 0)));
    EXPECT_FALSE(std::isnan(log_change("subject->last | between 0", 0, 0)));
    return;
  }
  prompts_.resize(2);
  compute(planned("from: subject, lengths: 300, places: between"));
  EXPECT_FALSE(std::isnan(log_change("subject->last | between 300", 1, 0)));
  EXPECT_GT(array<std::int32_t>("position", "distance")[item("subject->last | between 300") * 2],
            300);
}

TEST_P(PositionKindTest, RefusesWhatCannotBe) {
  const auto refusal = [&](const std::string& keys) {
    return refused("{windows: {sizes: 3}, " + keys + ", " + kTexts + "}");
  };
  EXPECT_THAT(refusal("from: each, lengths: 1"), HasSubstr("each is no group here"));
  EXPECT_THAT(refusal("from: pattern nothing, lengths: 1"),
              HasSubstr("no prompt of the dataset has pattern nothing"));
  EXPECT_THAT(refusal("from: subject, lengths: 0"), HasSubstr("position.lengths"));
  EXPECT_THAT(refusal("from: subject, lengths: 1, places: behind"), HasSubstr("between"));
  EXPECT_THAT(refused("{windows: {sizes: 3}, from: subject, lengths: 1}"), HasSubstr("texts"));
  EXPECT_THAT(refused("{windows: {sizes: 99}, from: subject, lengths: 1, texts: a}"),
              HasSubstr("key position.windows.sizes: a window of 99"));
}

TEST_P(PositionKindTest, IsWrittenAsItIsRead) {
  const Entries entries = entries_in(
      "{windows: {sizes: [1, 3]}, from: [subject, first], to: last, places: between, lengths: [4, "
      "8], texts: [a b, c], seed: 9, prompts: 5}");
  const YamlNode written = position_kind().form().write(entries, Purpose::kResolved).value();
  EXPECT_EQ(static_cast<const PositionConfig&>(*entries.at(0)),
            static_cast<const PositionConfig&>(*entries_in(write_yaml(written)).at(0)));
}

INSTANTIATE_TEST_SUITE_P(Models, PositionKindTest,
                         ::testing::Values("gpt2", "llama", "mamba", "mamba2", "falcon_mamba"),
                         [](const auto& test) { return test.param; });

// ---- pure

TokenizedPrompt prompt_of(std::vector<int> ids, std::vector<int> subject) {
  TokenizedPrompt prompt;
  prompt.ids = std::move(ids);
  prompt.subject = std::move(subject);
  for (size_t i = 0; i < prompt.ids.size(); ++i) prompt.offsets.emplace_back(2 * i, 2 * i + 1);
  return prompt;
}

TEST(NeutralText, StandsBehindTheTokenizersOwnTokensOrBehindTheSubject) {
  TokenizedPrompt prompt = prompt_of({7, 1, 2, 3}, {1, 2});
  prompt.offsets[0] = {0, 0};  // BOS
  const TokenizedPrompt before = with_neutral(prompt, NeutralPlace::kBefore, {8, 9}),
                        between = with_neutral(prompt, NeutralPlace::kBetween, {8, 9});
  EXPECT_THAT(before.ids, ElementsAre(7, 8, 9, 1, 2, 3));
  EXPECT_THAT(before.subject, ElementsAre(3, 4));
  EXPECT_THAT(between.ids, ElementsAre(7, 1, 2, 8, 9, 3));
  EXPECT_THAT(between.subject, ElementsAre(1, 2));
  EXPECT_EQ(between.offsets.size(), between.ids.size());
}

TEST(NeutralText, EndsWhereATextEndsAndShorterOnesAreItsEnd) {
  const TokenizedPrompt prompt = prompt_of({7, 1, 2}, {1});
  const std::vector<std::vector<int>> texts = {{1, 2, 3}, {4, 5}};
  const std::vector<int> five = neutral_tokens(texts, prompt, 1, 5);
  EXPECT_TRUE(five.back() == 3 || five.back() == 5);
  std::vector<int> sorted = five;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_THAT(sorted, ElementsAre(1, 2, 3, 4, 5));  // every text once a round
  const std::vector<int> seven = neutral_tokens(texts, prompt, 1, 7);
  EXPECT_TRUE(std::equal(five.begin(), five.end(), seven.begin() + 2));
  EXPECT_THAT(neutral_tokens(texts, prompt, 1, 0), IsEmpty());
  EXPECT_THROW(neutral_tokens({{}}, prompt, 1, 1), std::invalid_argument);
}

TEST(PositionItems, AreReadAsTheyAreWritten) {
  const PositionItem item{"pattern a | b->last", "between", 16};
  EXPECT_EQ(to_string(item), "pattern a | b->last | between 16");
  const auto read = parse_position_item(to_string(item)).value();
  EXPECT_EQ(read.edge, item.edge);
  EXPECT_EQ(read.place, item.place);
  EXPECT_EQ(read.length, 16);
  EXPECT_FALSE(parse_position_item("subject->last"));
  EXPECT_FALSE(parse_position_item("subject->last | between x"));
}

}  // namespace
}  // namespace factflow
