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
    tokenize(character_tokenizer(), prompt, AnswerRule::kContinuation);
  } catch (const InputError& error) {
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

TEST(Tokenize, FindsSubjectAndAnswer) {
  const TokenizedPrompt prompt = tokenize(
      character_tokenizer(), prompt_with("a bc he", "bc", " lo"), AnswerRule::kContinuation);
  EXPECT_EQ(prompt.ids, (std::vector<int>{8, 0, 7, 1, 2, 7, 3, 4}));
  EXPECT_EQ(prompt.offsets.front(), (std::pair<std::int64_t, std::int64_t>{0, 0}));
  EXPECT_EQ(prompt.subject, (std::vector<int>{3, 4}));
  EXPECT_EQ(prompt.answer, 7);
}

TEST(Tokenize, ATokenThatReachesIntoTheSubjectBelongsToIt) {
  const Tokenizer tokenizer = from_json(small_tokenizer());
  const auto subject = [&](const char* of) {
    return tokenize(tokenizer, prompt_with("abche", of, "a"), AnswerRule::kContinuation).subject;
  };
  EXPECT_EQ(subject("c"), (std::vector<int>{0}));
  EXPECT_EQ(subject("ch"), (std::vector<int>{0, 1}));
}

TEST(Tokenize, TokensOfNoLengthOverlapNothing) {
  json document = small_tokenizer();
  document["model"]["vocab"].update({{"Ġ", 11}});
  document["pre_tokenizer"] = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
  document["post_processor"] = document["pre_tokenizer"];
  const TokenizedPrompt prompt =
      tokenize(from_json(document), prompt_with("a  b", "a  b", "c"), AnswerRule::kContinuation);
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
    tokenize(from_json(small_tokenizer()), prompt_with("", "", "a"), AnswerRule::kContinuation);
    FAIL() << "no error";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("prompt 7: has no tokens"));
  }
}

// "▁" before every text, as in Llama-2: an answer that is encoded alone begins with it.
Tokenizer prepending_tokenizer() {
  json document = small_tokenizer();
  document["normalizer"] = json::parse(R"({"type": "Sequence", "normalizers": [
      {"type": "Prepend", "prepend": "▁"},
      {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]})");
  document["model"]["vocab"].update({{"▁h", 20}, {"▁he", 21}});
  document["model"]["merges"] = json::parse(R"([["▁", "h"], ["▁h", "e"]])");
  return from_json(document);
}

TEST(AnswerRules, APrependedSpaceIsNotTheAnswer) {
  const Tokenizer tokenizer = prepending_tokenizer();
  const Prompt prompt = prompt_with("a bc", "bc", " he");
  EXPECT_EQ(tokenize(tokenizer, prompt, AnswerRule::kFirstToken).answer, 7);  // "▁" of "▁▁he"
  EXPECT_EQ(tokenize(tokenizer, prompt, AnswerRule::kContinuation).answer, 21);
  EXPECT_EQ(tokenize(tokenizer, prompt, AnswerRule::kContinuation).ids,
            (std::vector<int>{7, 0, 7, 1, 2}));
  EXPECT_FALSE(tokenize(tokenizer, prompt, AnswerRule::kContinuation).changes);
}

// "a" and " " are one token where they follow each other.
Tokenizer swallowing_tokenizer() {
  json document = small_tokenizer();
  document["model"]["vocab"].update({{" ", 20}, {"a ", 21}, {"a b", 22}});
  document["model"]["merges"] = json::parse(R"([["a", " "], ["a ", "b"]])");
  return from_json(document);
}

TEST(AnswerRules, WhereThePromptsTokensChangeTheAnswerBeginsBehindThem) {
  const TokenizedPrompt changed =
      tokenize(swallowing_tokenizer(), prompt_with("bca", "c", " c"), AnswerRule::kContinuation);
  EXPECT_EQ(changed.ids, (std::vector<int>{1, 2, 0}));  // alone: b c a; together: b c "a " c
  EXPECT_EQ(changed.answer, 2);
  EXPECT_TRUE(changed.changes);
  const TokenizedPrompt alone =
      tokenize(swallowing_tokenizer(), prompt_with("bca", "c", " c"), AnswerRule::kFirstToken);
  EXPECT_EQ(alone.answer, 20);
  EXPECT_FALSE(alone.changes);
}

// An added token of two spaces takes the prompt's last space and the answer's first one.
TEST(AnswerRules, ASpaceThatBelongsToThePromptIsNotTheAnswer) {
  json document = small_tokenizer();
  document["model"]["vocab"].update({{"Ġ", 11}});
  document["pre_tokenizer"] = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
  document["post_processor"] = document["pre_tokenizer"];
  document["added_tokens"] = {{{"id", 12},
                               {"content", "  "},
                               {"single_word", false},
                               {"lstrip", false},
                               {"rstrip", false},
                               {"normalized", false},
                               {"special", false}}};
  const TokenizedPrompt prompt =
      tokenize(from_json(document), prompt_with("ab ", "ab", " c"), AnswerRule::kContinuation);
  EXPECT_EQ(prompt.ids, (std::vector<int>{9, 11}));
  EXPECT_EQ(prompt.answer, 2);
  EXPECT_TRUE(prompt.changes);
}

TEST(AnswerRules, AnAnswerWithoutATokenOfItsOwnIsAnError) {
  try {
    tokenize(swallowing_tokenizer(), prompt_with("bca", "c", " b"), AnswerRule::kContinuation);
    FAIL() << "no error";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("prompt 7: the answer ' b' has no token of its own"));
  }
}

TEST(AnswerRules, ATokenBehindEveryTextIsNeitherPromptNorAnswer) {
  json document = small_tokenizer();
  document["post_processor"] = json::parse(R"({"type": "TemplateProcessing",
      "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<s>", "type_id": 0}}],
      "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [8], "tokens": ["<s>"]}}})");
  const TokenizedPrompt prompt =
      tokenize(from_json(document), prompt_with("abc", "b", "he"), AnswerRule::kContinuation);
  EXPECT_EQ(prompt.ids.back(), 8);
  EXPECT_EQ(prompt.answer, 3);
  EXPECT_FALSE(prompt.changes);
}

TEST(AnswerRules, HaveNames) {
  for (const AnswerRule rule : {AnswerRule::kContinuation, AnswerRule::kFirstToken})
    EXPECT_EQ(parse_answer_rule(to_string(rule)), rule);
  EXPECT_THROW(parse_answer_rule("continuatoin"), InputError);
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
