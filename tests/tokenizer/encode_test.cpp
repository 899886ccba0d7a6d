// What a reader of the header would expect of encode, on tokenizers small enough to follow by hand.
#include <filesystem>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "test_tokenizers.hpp"
#include "tests/source_dir.hpp"

namespace factflow {
namespace {

using nlohmann::json;
using testing::HasSubstr;

const std::filesystem::path kDemo = std::filesystem::path(source_dir()) / "demo/models";

json split_at(const std::string& regex) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", regex}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

json added(const std::string& content, int id) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

TEST(Encode, MergesByRankThenFromTheLeft) {
  json document = small_tokenizer();
  const Tokenizer tokenizer = from_json(document);
  EXPECT_EQ(tokens_of(tokenizer, "abcabab"), "abc|ab|ab");
  EXPECT_EQ(tokenizer.encode("abcab").offsets, (Offsets{{0, 3}, {3, 5}}));
  document["model"]["vocab"]["bc"] = 11;
  document["model"]["merges"] = {"b c", "a b"};
  EXPECT_EQ(tokens_of(from_json(document), "abcab"), "a|bc|ab");
}

TEST(Encode, BothSpellingsOfMergesAreTheSame) {
  json document = small_tokenizer();
  document["model"]["merges"] = {"#version: 0.2", "a b", "ab c"};
  EXPECT_EQ(tokens_of(from_json(document), "abcab"), "abc|ab");
}

TEST(Encode, WithoutAnUnknownTokenUnknownCharactersAreDropped) {
  EXPECT_EQ(tokens_of(from_json(small_tokenizer()), "xayyb"), "ab");
}

TEST(Encode, AnUnknownTokenThatDoesNotExistIsAnErrorWhenItIsNeeded) {
  json document = small_tokenizer();
  document["model"]["unk_token"] = "<unk>";
  const Tokenizer tokenizer = from_json(document);
  EXPECT_EQ(tokens_of(tokenizer, "abc"), "abc");
  EXPECT_THROW(tokenizer.encode("abx"), InputError);
}

TEST(Encode, TextsThatAreNoUtf8AreRefused) {
  const Tokenizer tokenizer = from_json(small_tokenizer());
  for (const char* text : {"\xff", "a\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80"}) {
    EXPECT_THROW(tokenizer.encode(text), InputError) << text;
  }
}

TEST(Encode, TextsOfUnreasonableLengthAreRefused) {
  const Tokenizer tokenizer = from_json(small_tokenizer());
  EXPECT_EQ(tokenizer.encode(std::string(size_t{1} << 20, 'a')).ids.size(), size_t{1} << 20);
  EXPECT_THROW(tokenizer.encode(std::string((size_t{1} << 20) + 1, 'a')), InputError);
}

TEST(Encode, TextsThatExplodeInNormalizationAreRefused) {
  json document = small_tokenizer();
  const json doubled = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
  document["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::vector<json>(64, doubled)}};
  EXPECT_THROW(from_json(document).encode("a"), InputError);
}

TEST(Encode, RegularExpressionsThatBacktrackWithoutEndGiveUp) {
  json document = small_tokenizer();
  document["pre_tokenizer"] = split_at("(a+)+$");
  const Tokenizer tokenizer = from_json(document);
  try {
    tokenizer.encode(std::string(60, 'a') + "b");
    FAIL() << "no error";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(),
                HasSubstr("t.json: key pre_tokenizer.pattern.Regex: regular expression gave up"));
  }
}

TEST(Encode, TheLongestAddedTokenAtTheLeftmostPlaceWins) {
  json document = small_tokenizer();
  document["added_tokens"] = {added("he", 11), added("hell", 12), added("ello", 13)};
  EXPECT_EQ(tokens_of(from_json(document), "hello helo"), "hell|o|he|l|o");
}

TEST(Encode, SpecialTokensAroundATextHaveNoOffsets) {
  json document = small_tokenizer();
  document["post_processor"] = json::parse(R"({"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [8], "tokens": ["<s>"]}}})");
  const Tokenizer tokenizer = from_json(document);
  EXPECT_EQ(tokenizer.encode("abc").ids, (std::vector<int>{8, 10}));
  EXPECT_EQ(tokenizer.encode("abc").offsets, (Offsets{{0, 0}, {0, 3}}));
  EXPECT_EQ(tokenizer.encode("abc", false).ids, (std::vector<int>{10}));
  EXPECT_EQ(tokenizer.encode("").ids, (std::vector<int>{8}));
  EXPECT_EQ(tokenizer.description(), "BPE, 11 tokens, template <s> $A");
}

TEST(TokenText, IsWhatAReaderWouldSee) {
  json document = small_tokenizer();
  document["model"]["byte_fallback"] = true;
  document["model"]["vocab"].update({{"<0x41>", 11}, {"<0xC3>", 12}, {"▁a", 13}});
  document["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "▁"}};
  const Tokenizer tokenizer = from_json(document);
  EXPECT_EQ(tokenizer.token_text(11), "A");
  EXPECT_EQ(tokenizer.token_text(12), "\uFFFD");
  EXPECT_EQ(tokenizer.token_text(13), " a");
  EXPECT_THROW(tokenizer.token_text(14), std::out_of_range);
  EXPECT_THROW(tokenizer.token_text(-1), std::out_of_range);
}

TEST(TokenText, ByteSymbolsAreBytes) {
  const Tokenizer tokenizer = Tokenizer::load(kDemo / "gpt2");
  std::string text;
  for (const int id : tokenizer.encode("The café is in Paris\n").ids)
    text += tokenizer.token_text(id);
  EXPECT_THAT(text, testing::StartsWith("The caf"));
  EXPECT_THAT(text, testing::EndsWith(" is in Paris\n"));
  EXPECT_EQ(tokenizer.token_text(0), "<|endoftext|>");
}

TEST(Demo, EveryModelsTokenizerLoadsAndCoversItsText) {
  const std::string text = "Lucerne Bridge <|endoftext|>stands in \u6771\u4eac!";
  for (const auto& model : std::filesystem::directory_iterator(kDemo)) {
    const Tokenizer tokenizer = Tokenizer::load(model.path());
    EXPECT_EQ(tokenizer.vocabulary_size(), 1024);
    EXPECT_EQ(tokenizer.description(), "BPE, 1,024 tokens, ByteLevel");
    const Encoding encoding = tokenizer.encode(text);
    EXPECT_THAT(encoding.ids, testing::Contains(0));
    std::int64_t covered = 0;
    for (const auto& [begin, end] : encoding.offsets) {
      EXPECT_LE(begin, covered);
      covered = std::max(covered, end);
    }
    EXPECT_EQ(covered, static_cast<std::int64_t>(text.size()));
  }
}

TEST(Digest, DependsOnEveryByteOfTheFile) {
  json document = small_tokenizer();
  const std::string before = from_json(document).digest();
  EXPECT_EQ(from_json(document).digest(), before);
  document["model"]["vocab"]["x"] = 11;
  EXPECT_NE(from_json(document).digest(), before);
  EXPECT_EQ(before.size(), 32u);
}

TEST(Encode, IsSafeFromSeveralThreads) {
  const Tokenizer tokenizer = Tokenizer::load(kDemo / "gpt2");
  const std::string text = "The capital of the country where Lucerne Bridge stands is";
  const std::vector<int> expected = tokenizer.encode(text).ids;
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) wrong[t] += tokenizer.encode(text).ids != expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, testing::Each(0));
}

}  // namespace
}  // namespace factflow
