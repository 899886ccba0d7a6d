// The kind `answers`: the whole answer's probability is the product of the reference forward's over
// its tokens, with the edge blocked into each; and roles of the user's own.
#include "experiments/answers/answers.hpp"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/experiments/demo_facts.hpp"

namespace factflow {
namespace {

using ::testing::Contains;
using ::testing::Gt;
using ::testing::HasSubstr;

class AnswersKindTest : public DemoFacts {
 protected:
  AnswersKindTest() : DemoFacts(answers_kind()) {}

  size_t item(const std::string& name) const {
    const auto& items = axis<std::string>("answers", "item");
    return static_cast<size_t>(std::find(items.begin(), items.end(), name) - items.begin());
  }
  double log_change(const std::string& name, size_t fact, size_t start) const {
    const size_t starts = static_cast<size_t>(layers()) - 2;
    return static_cast<double>(array<float>("answers/window_3", "log_change")
                                   .at((item(name) * prompts_.size() + fact) * starts + start));
  }
  // By whole forwards: ln p of each of the answer's tokens behind the prompt, with sources -> the
  // tokens that ask for one blocked in layers start .. start + 2; no sources: clean.
  std::vector<double> tokens_log(size_t fact, const std::vector<int>& sources, int start) const {
    const TokenizedPrompt prompt = tokens_of(fact);
    const std::vector<int> answer =
        model_->answer_tokens(prompts_[fact].text, prompts_[fact].answer);
    std::vector<int> ids = prompt.ids;
    Block block;
    block.layers = {start, start + 1, start + 2};
    block.sources = sources;
    std::vector<double> logs;
    for (const int token : answer) {
      block.targets.push_back(static_cast<int>(ids.size()) - 1);
      logs.push_back(std::log(probability(
          ids, token,
          sources.empty() ? std::vector<Intervention>{} : std::vector<Intervention>{block})));
      ids.push_back(token);
    }
    return logs;
  }
};

double sum(const std::vector<double>& values) {
  double total = 0;
  for (const double value : values) total += value;
  return total;
}

TEST_P(AnswersKindTest, StoresWhatTheReferenceForwardSays) {
  compute(plan("{windows: {sizes: 3}, from: [subject, last]}"));
  EXPECT_THAT(array<std::int32_t>("answers", "tokens"), Contains(Gt(1)));
  double largest = 0;
  for (size_t fact = 0; fact < prompts_.size(); ++fact) {
    const std::vector<double> clean = tokens_log(fact, {}, 0),
                              blocked = tokens_log(fact, tokens_of(fact).subject, 4);
    EXPECT_EQ(array<std::int32_t>("answers", "tokens")[fact],
              static_cast<std::int32_t>(clean.size()));
    EXPECT_NEAR(array<double>("answers", "clean_first")[fact], clean[0], 1e-9);
    EXPECT_NEAR(array<double>("answers", "clean_whole")[fact], sum(clean), 1e-9);
    EXPECT_NEAR(log_change("subject->last | first token", fact, 4), blocked[0] - clean[0], 1e-5);
    EXPECT_NEAR(log_change("subject->last | whole answer", fact, 4), sum(blocked) - sum(clean),
                1e-5);
    largest = std::max(largest, std::abs(sum(blocked) - sum(clean) - blocked[0] + clean[0]));
  }
  EXPECT_GT(largest, 1e-4);  // or nothing but first tokens would be tested
}

TEST_P(AnswersKindTest, TakesRolesByPatternAndByCharacters) {
  prompts_[1].text = "The city of Japan is";
  prompts_[1].subject_begin = 12;
  compute(plan("{windows: {sizes: 3}, from: ['pattern cap[a-z]+', characters 4..11]}"));
  const TokenizedPrompt prompt = tokens_of(0);
  std::vector<int> tokens;
  for (size_t i = 0; i < prompt.ids.size(); ++i)
    if (prompt.offsets[i].first < 11 && prompt.offsets[i].second > 4)  // "capital"
      tokens.push_back(static_cast<int>(i));
  ASSERT_FALSE(tokens.empty());
  const std::vector<double> clean = tokens_log(0, {}, 0), blocked = tokens_log(0, tokens, 2);
  for (const std::string role : {"pattern cap[a-z]+", "characters 4..11"})
    EXPECT_NEAR(log_change(role + "->last | first token", 0, 2), blocked[0] - clean[0], 1e-5);
  EXPECT_TRUE(std::isnan(log_change("pattern cap[a-z]+->last | first token", 1, 2)));
  EXPECT_TRUE(std::isnan(log_change("pattern cap[a-z]+->last | whole answer", 1, 2)));
  EXPECT_FALSE(std::isnan(log_change("characters 4..11->last | whole answer", 1, 2)));
}

TEST_P(AnswersKindTest, RefusesWhatCannotBe) {
  EXPECT_THAT(refused("{windows: {sizes: 3}, from: pattern nothing}"),
              HasSubstr("x.yaml: key answers.from: no prompt of the dataset has pattern nothing"));
  EXPECT_THAT(refused("{windows: {sizes: 3}, from: 'pattern ('}"), HasSubstr("is none"));
  EXPECT_THAT(refused("{windows: {sizes: 3}, from: 'pattern a*'}"), HasSubstr("no empty text"));
  EXPECT_THAT(refused("{windows: {sizes: 3}, from: characters 9..4}"),
              HasSubstr("expected characters in order"));
  EXPECT_THAT(refused("{windows: {sizes: 3}, from: each}"), HasSubstr("each is no group here"));
  EXPECT_THAT(refused("{windows: {sizes: 99}, from: subject}"),
              HasSubstr("key answers.windows.sizes: a window of 99"));
  EXPECT_THAT(refused("{windows: {sizes: 3}, from: nobody}"), HasSubstr("group of tokens"));
}

TEST_P(AnswersKindTest, IsWrittenAsItIsRead) {
  const Entries entries = entries_in(
      "{windows: {sizes: 3}, from: ['pattern cap[a-z]+', characters 4..11, subject], to: [last, "
      "first], prompts: 3}");
  const YamlNode written = answers_kind().form().write(entries, Purpose::kResolved).value();
  EXPECT_EQ(static_cast<const AnswersConfig&>(*entries.at(0)),
            static_cast<const AnswersConfig&>(*entries_in(write_yaml(written)).at(0)));
}

INSTANTIATE_TEST_SUITE_P(Models, AnswersKindTest,
                         ::testing::Values("gpt2", "llama", "mamba", "mamba2", "falcon_mamba"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace factflow
