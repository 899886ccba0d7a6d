// Whole tokenizers of real models, and ours of two more styles, against the library's ids and
// subject tokens.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "model/prompt.hpp"
#include "test_tokenizers.hpp"
#include "tests/source_dir.hpp"

namespace factflow {
namespace {

using nlohmann::json;

const std::filesystem::path kShared = std::filesystem::path(source_dir()) / ".." / "shared";

const std::map<std::int64_t, json>& counterfact() {
  static const std::map<std::int64_t, json> records = [] {
    std::map<std::int64_t, json> by_id;
    std::ifstream file(kShared / "data/counterfact.jsonl");
    for (std::string line; std::getline(file, line);) {
      json record = json::parse(line);
      const std::int64_t id = record.at("case_id");
      by_id.emplace(id, std::move(record));
    }
    return by_id;
  }();
  return records;
}

Prompt prompt_of(const json& record) {
  Prompt prompt;
  prompt.id = record.at("case_id");
  prompt.text = record.at("prompt");
  prompt.subject = record.at("subject");
  prompt.subject_begin = static_cast<std::int64_t>(prompt.text.find(prompt.subject));
  prompt.answer = " " + record.at("target_true").get<std::string>();
  return prompt;
}

class Oracle : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kShared / "oracle/tokenizers" / (GetParam() + ".json")))
      GTEST_SKIP() << "no shared oracle";
  }
  // Large files are read once for all tests.
  const Tokenizer& tokenizer() const {
    static std::map<std::string, Tokenizer> tokenizers;
    const auto known = tokenizers.find(GetParam());
    if (known != tokenizers.end()) return known->second;
    return tokenizers.emplace(GetParam(), Tokenizer::load(kShared / "tokenizers" / GetParam()))
        .first->second;
  }
  json oracle() const {
    return json::parse(std::ifstream(kShared / "oracle/tokenizers" / (GetParam() + ".json")));
  }
};

TEST_P(Oracle, PromptsHaveTheLibrarysIdsAndSubjectTokens) {
  const Tokenizer& tokens = tokenizer();
  const json expected = oracle();
  for (const json& row : expected.at("rows")) {
    const Prompt prompt = prompt_of(counterfact().at(row.at("case_id")));
    const TokenizedPrompt tokenized = tokenize(tokens, prompt, AnswerRule::kFirstToken);
    EXPECT_EQ(json(tokenized.ids), row.at("ids")) << prompt.text;
    EXPECT_EQ(tokenized.subject.front(), row.at("subject_tokens")[0]) << prompt.text;
    EXPECT_EQ(tokenized.subject.back() + 1, row.at("subject_tokens")[1]) << prompt.text;
    EXPECT_EQ(json(tokens.encode(prompt.answer, false).ids), row.at("answer_ids")) << prompt.answer;
    EXPECT_EQ(tokenized.answer, row.at("answer_ids")[0]) << prompt.answer;
  }
}

// How many prompts have other tokens when the answer follows: only where words share tokens.
size_t prompts_that_change(const std::string& tokenizer) {
  return tokenizer == "mistral-style" ? 9401 : 0;
}

TEST_P(Oracle, AnswersFollowTheirPrompts) {
  const Tokenizer& tokens = tokenizer();
  size_t changed = 0;
  for (const auto& [id, record] : counterfact()) {
    const Prompt prompt = prompt_of(record);
    const TokenizedPrompt tokenized = tokenize(tokens, prompt, AnswerRule::kContinuation);
    const Encoding together = tokens.encode(prompt.text + prompt.answer);
    size_t place = tokenized.ids.size();
    if (tokenized.changes) {
      ++changed;
      place = 1;  // behind the token that was put in front
      while (together.offsets.at(place).first < static_cast<std::int64_t>(prompt.text.size()))
        ++place;
    } else {
      ASSERT_TRUE(std::equal(tokenized.ids.begin(), tokenized.ids.end(), together.ids.begin()));
    }
    ASSERT_EQ(tokenized.answer, together.ids.at(place)) << prompt.text;
  }
  EXPECT_EQ(changed, prompts_that_change(GetParam()));
}

// "▁" before every text: the published rule reads one lone space for all 21,919 answers.
TEST(AnswersOfLlama2, AreWordsOnlyBehindTheirPrompts) {
  const std::filesystem::path directory = kShared / "tokenizers/llama-2";
  if (!std::filesystem::exists(directory)) GTEST_SKIP() << "no shared tokenizers";
  const Tokenizer tokens = Tokenizer::load(directory);
  std::map<AnswerRule, std::set<int>> answers;
  for (const auto& [id, record] : counterfact())
    for (const AnswerRule rule : {AnswerRule::kContinuation, AnswerRule::kFirstToken})
      answers[rule].insert(tokenize(tokens, prompt_of(record), rule).answer);
  EXPECT_EQ(answers[AnswerRule::kFirstToken].size(), 1U);
  EXPECT_GT(answers[AnswerRule::kContinuation].size(), 100U);
}

TEST_P(Oracle, TrickyTextsHaveTheLibrarysIds) {
  const Tokenizer& tokens = tokenizer();
  const json expected = oracle();
  for (const json& row : expected.at("tricky")) {
    const std::string text = row.at("text");
    EXPECT_EQ(json(tokens.encode(text).ids), row.at("ids")) << row.at("text");
    EXPECT_EQ(json(tokens.encode(text, false).ids), row.at("ids_no_special")) << row.at("text");
  }
}

// The target of a release build is one second; ten leave room for sanitizers and busy machines.
TEST_P(Oracle, AllOfCounterfactIsQuick) {
  const Tokenizer& tokens = tokenizer();
  ASSERT_EQ(counterfact().size(), 21919u);
  const auto start = std::chrono::steady_clock::now();
  for (const auto& [id, record] : counterfact())
    tokens.encode(record.at("prompt").get_ref<const std::string&>());
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  RecordProperty("milliseconds", static_cast<int>(elapsed.count() * 1000));
  EXPECT_LT(elapsed.count(), 10.0);
}

INSTANTIATE_TEST_SUITE_P(All, Oracle,
                         testing::Values("gpt-neox-20b", "gpt2", "llama-2", "llama-3", "qwen3",
                                         "falcon-style", "mistral-style"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace factflow
