#include "model/prompt.hpp"

#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "test_tokenizers.hpp"

namespace factflow {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// One token per character, "▁" for spaces, <s> in front.
Tokenizer character_tokenizer() {
  json document = small_tokenizer();
  document["model"]["merges"] = json::array();
  document["normalizer"] = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}};
  document["post_processor"] = json::parse(R"({"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [8], "tokens": ["<s>"]}}})");
  return from_json(document);
}

Prompt prompt_with(const std::string& text, const std::string& subject, const std::string& answer) {
  return {7, text, subject, static_cast<std::int64_t>(text.find(subject)), answer, ""};
}

std::string error_of(const Prompt& prompt) {
  try {
    tokenize(character_tokenizer(), prompt);
  } catch (const InputError& error) {
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

TEST(Tokenize, FindsSubjectAndAnswer) {
  const TokenizedPrompt prompt =
      tokenize(character_tokenizer(), prompt_with("a bc he", "bc", " lo"));
  EXPECT_EQ(prompt.ids, (std::vector<int>{8, 0, 7, 1, 2, 7, 3, 4}));
  EXPECT_EQ(prompt.offsets.front(), (std::pair<std::int64_t, std::int64_t>{0, 0}));
  EXPECT_EQ(prompt.subject, (std::vector<int>{3, 4}));
  EXPECT_EQ(prompt.answer, 7);
}

TEST(Tokenize, ATokenThatReachesIntoTheSubjectBelongsToIt) {
  const Tokenizer tokenizer = from_json(small_tokenizer());
  EXPECT_EQ(tokenize(tokenizer, prompt_with("abche", "c", "a")).subject, (std::vector<int>{0}));
  EXPECT_EQ(tokenize(tokenizer, prompt_with("abche", "ch", "a")).subject, (std::vector<int>{0, 1}));
}

TEST(Tokenize, TokensOfNoLengthOverlapNothing) {
  json document = small_tokenizer();
  document["model"]["vocab"].update({{"Ġ", 11}});
  document["pre_tokenizer"] = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
  document["post_processor"] = document["pre_tokenizer"];
  const TokenizedPrompt prompt = tokenize(from_json(document), prompt_with("a  b", "a  b", "c"));
  EXPECT_EQ(prompt.ids, (std::vector<int>{0, 11, 11, 1}));
  EXPECT_EQ(prompt.subject, (std::vector<int>{0, 3}));
}

TEST(Tokenize, WhatIsMissingIsNamed) {
  EXPECT_THAT(error_of(prompt_with("xyz", "y", " lo")),
              HasSubstr("prompt 7: no token covers the subject 'y'"));
  EXPECT_THAT(error_of(prompt_with("abc", "b", "xyz")),
              HasSubstr("prompt 7: the answer 'xyz' has no token"));
  Prompt beyond = prompt_with("abc", "b", "a");
  beyond.subject_begin = 100;
  EXPECT_THAT(error_of(beyond), HasSubstr("no token covers"));
  try {
    tokenize(from_json(small_tokenizer()), prompt_with("", "", "a"));
    FAIL() << "no error";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("prompt 7: has no tokens"));
  }
}

TEST(PositionsOf, EveryRole) {
  TokenizedPrompt prompt;
  prompt.ids = {8, 0, 7, 1, 2, 7, 3, 4};
  prompt.subject = {3, 4};
  EXPECT_EQ(positions_of(TokenRole::kLast, prompt), (std::vector<int>{7}));
  EXPECT_EQ(positions_of(TokenRole::kFirst, prompt), (std::vector<int>{0}));
  EXPECT_EQ(positions_of(TokenRole::kSubject, prompt), (std::vector<int>{3, 4}));
  EXPECT_EQ(positions_of(TokenRole::kRelation, prompt), (std::vector<int>{0, 1, 2, 5, 6, 7}));
  EXPECT_EQ(positions_of(TokenRole::kRelationMinusLast, prompt), (std::vector<int>{0, 1, 2, 5, 6}));
  EXPECT_EQ(positions_of(TokenRole::kContext, prompt), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(positions_of(TokenRole::kAll, prompt), (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_THROW(positions_of(TokenRole::kEach, prompt), std::logic_error);
}

TEST(PositionsOf, ASubjectAtTheEdgesLeavesNoContextAndNoRelation) {
  TokenizedPrompt prompt;
  prompt.ids = {0, 1};
  prompt.subject = {0, 1};
  EXPECT_TRUE(positions_of(TokenRole::kContext, prompt).empty());
  EXPECT_TRUE(positions_of(TokenRole::kRelation, prompt).empty());
  EXPECT_TRUE(positions_of(TokenRole::kRelationMinusLast, prompt).empty());
}

}  // namespace
}  // namespace factflow
