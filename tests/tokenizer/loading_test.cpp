// What is no supported tokenizer is refused with one line that names the file, the place and the
// problem.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.hpp"
#include "base/files.hpp"
#include "test_tokenizers.hpp"

namespace factflow {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

json added(const std::string& content, int id) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

json with(const std::string& pointer, const json& value) {
  json document = small_tokenizer();
  document[json::json_pointer(pointer)] = value;
  return document;
}

json pairs(const std::vector<std::vector<std::string>>& merges) {
  return merges;
}

json without(const std::string& object, const std::string& key) {
  json document = small_tokenizer();
  document[json::json_pointer(object)].erase(key);
  return document;
}

TEST(Loading, TruncatedJsonNamesThePlace) {
  const std::string text = small_tokenizer().dump();
  for (size_t length = 0; length < text.size(); length += 37) {
    EXPECT_THAT(parsing_error(text.substr(0, length)), HasSubstr("is not valid JSON"));
  }
}

TEST(Loading, NumbersBeyondDoublesAreRefused) {
  EXPECT_THAT(parsing_error(R"({"version": 1e999})"), HasSubstr("number that is too large"));
}

TEST(Loading, DeepNestingIsRefusedBeforeParsing) {
  EXPECT_THAT(parsing_error(std::string(1'000'000, '[')), HasSubstr("deeper than 64"));
  json normalizer = {{"type", "NFC"}};
  for (int i = 0; i < 60; ++i)
    normalizer = {{"type", "Sequence"}, {"normalizers", json::array({normalizer})}};
  EXPECT_THAT(loading_error(with("/normalizer", normalizer)), HasSubstr("deeper than 64"));
  normalizer = {{"type", "NFC"}};
  for (int i = 0; i < 20; ++i)
    normalizer = {{"type", "Sequence"}, {"normalizers", json::array({normalizer})}};
  EXPECT_NO_THROW(from_json(with("/normalizer", normalizer)));
}

TEST(Loading, WrongTypesNameTheKey) {
  EXPECT_THAT(parsing_error("[]"), HasSubstr("expected an object, found array"));
  EXPECT_THAT(loading_error(with("/model", 3)),
              HasSubstr("key model: expected an object, found number"));
  EXPECT_THAT(loading_error(with("/model/vocab", json::array())), HasSubstr("key model.vocab"));
  EXPECT_THAT(loading_error(with("/model/merges", "a b")), HasSubstr("key model.merges"));
  EXPECT_THAT(loading_error(with("/model/merges", {1, 2})),
              HasSubstr("merge 1 is not a pair of tokens"));
  EXPECT_THAT(loading_error(with("/model/fuse_unk", "yes")),
              HasSubstr("key model.fuse_unk: expected true or false, found string"));
  EXPECT_THAT(loading_error(with("/model/unk_token", 0)),
              HasSubstr("key model.unk_token: expected a string"));
  EXPECT_THAT(loading_error(with("/added_tokens", json::object())),
              HasSubstr("key added_tokens: expected an array"));
  EXPECT_THAT(loading_error(with("/normalizer", {{"type", 1}})), HasSubstr("key normalizer.type"));
}

TEST(Loading, MissingKeysAreNamed) {
  EXPECT_THAT(loading_error(without("", "model")), HasSubstr("key model is missing"));
  EXPECT_THAT(loading_error(without("/model", "vocab")), HasSubstr("key vocab is missing"));
  EXPECT_THAT(loading_error(with("/pre_tokenizer", {{"type", "Digits"}})),
              HasSubstr("key individual_digits is missing"));
  EXPECT_THAT(loading_error(with("/pre_tokenizer", json::object())),
              HasSubstr("key type is missing"));
}

TEST(Loading, OtherModelsAndComponentsAreNamed) {
  EXPECT_THAT(loading_error(with("/model/type", "Unigram")),
              AllOf(HasSubstr("model 'Unigram'"), HasSubstr("BPE")));
  EXPECT_THAT(loading_error(with("/normalizer", {{"type", "Lowercase"}})),
              HasSubstr("key normalizer: normalizer 'Lowercase'"));
  EXPECT_THAT(loading_error(with("/pre_tokenizer", {{"type", "Whitespace"}})),
              HasSubstr("pre-tokenizer 'Whitespace'"));
  EXPECT_THAT(loading_error(with("/post_processor", {{"type", "BertProcessing"}})),
              HasSubstr("post-processor 'BertProcessing'"));
  EXPECT_THAT(loading_error(with("/pre_tokenizer",
                                 {{"type", "Sequence"}, {"pretokenizers", {{{"type", "Bert"}}}}})),
              HasSubstr("key pre_tokenizer.pretokenizers[0]"));
}

TEST(Loading, OptionsThatWouldChangeTheResultAreRefused) {
  EXPECT_THAT(loading_error(with("/model/dropout", 0.1)), HasSubstr("key model.dropout"));
  EXPECT_THAT(loading_error(with("/model/continuing_subword_prefix", "##")),
              HasSubstr("continuing_subword_prefix"));
  EXPECT_THAT(loading_error(with("/model/end_of_word_suffix", "</w>")),
              HasSubstr("end_of_word_suffix"));
  EXPECT_THAT(loading_error(with("/model/ignore_merge", true)),
              HasSubstr("did you mean 'ignore_merges'"));
  EXPECT_THAT(loading_error(with("/version", "2.0")), HasSubstr("version '2.0'"));
  EXPECT_NO_THROW(from_json(with("/model/dropout", 0.0)));
  EXPECT_NO_THROW(from_json(with("/model/continuing_subword_prefix", "")));
}

// As transformers: how a file was last used is no part of what it is.
TEST(Loading, TruncationAndPaddingAreReset) {
  json document = with("/truncation", {{"max_length", 2}, {"strategy", "LongestFirst"}});
  document["padding"] = {{"strategy", {{"Fixed", 9}}}, {"pad_id", 0}, {"pad_token", "a"}};
  EXPECT_EQ(from_json(document).encode("abab").ids,
            from_json(small_tokenizer()).encode("abab").ids);
}

TEST(Loading, IdsAreChecked) {
  EXPECT_THAT(loading_error(with("/model/vocab/a", -1)), HasSubstr("token 'a' has no id"));
  EXPECT_THAT(loading_error(with("/model/vocab/a", 0.5)), HasSubstr("token 'a' has no id"));
  EXPECT_THAT(loading_error(with("/model/vocab/a", 2147483647)),
              HasSubstr("2147483647 is too large"));
  EXPECT_THAT(loading_error(with("/model/vocab/a", 18446744073709551615u)), HasSubstr("too large"));
  EXPECT_THAT(loading_error(with("/model/vocab/a", 1)), HasSubstr("same id 1"));
  EXPECT_EQ(from_json(with("/model/vocab/abc", 2147483646)).vocabulary_size(), 2147483647);
}

TEST(Loading, MergesAreChecked) {
  EXPECT_THAT(loading_error(with("/model/merges", pairs({{"a", "x"}}))),
              HasSubstr("merge 1 needs token 'x'"));
  EXPECT_THAT(loading_error(with("/model/merges", pairs({{"a", "b"}, {"a", "c"}}))),
              HasSubstr("merge 2 needs token 'ac'"));
  EXPECT_THAT(loading_error(with("/model/merges", {"a b c"})),
              HasSubstr("merge 1 is not two tokens"));
  EXPECT_THAT(loading_error(with("/model/merges", {"ab"})), HasSubstr("merge 1 is not two tokens"));
  EXPECT_THAT(loading_error(with("/model/merges", {json("a b"), json({"ab", "c"})})),
              HasSubstr("merge 2"));
}

TEST(Loading, AddedTokensAreChecked) {
  const auto error = [](const std::vector<json>& list) {
    return loading_error(with("/added_tokens", list));
  };
  EXPECT_THAT(error({added("<x>", 12)}), HasSubstr("has id 12, but the vocabulary makes it 11"));
  EXPECT_THAT(error({added("<s>", 11)}), HasSubstr("has id 11, but the vocabulary makes it 8"));
  EXPECT_THAT(error({added("<x>", 3)}), HasSubstr("but the vocabulary makes it 11"));
  EXPECT_THAT(error({added("<x>", 11), added("<y>", 11)}),
              HasSubstr("key added_tokens[1]: added token '<y>' with id 11 appears twice"));
  EXPECT_THAT(error({added("<x>", 11), added("<x>", 12)}), HasSubstr("appears twice"));
  EXPECT_THAT(error({added("", 11)}), HasSubstr("without content"));
  json unfinished = added("<x>", 11);
  unfinished.erase("special");
  EXPECT_THAT(error({unfinished}), HasSubstr("key special is missing"));
  json emptied =
      with("/normalizer", {{"type", "Replace"}, {"pattern", {{"String", "x"}}}, {"content", ""}});
  emptied["added_tokens"] = {added("x", 11)};
  emptied["added_tokens"][0]["normalized"] = true;
  EXPECT_THAT(loading_error(emptied), HasSubstr("'x' is empty once it is normalized"));
  json same =
      with("/normalizer", {{"type", "Replace"}, {"pattern", {{"String", "x"}}}, {"content", "y"}});
  same["added_tokens"] = {added("<x>", 11), added("<y>", 12)};
  same["added_tokens"][0]["normalized"] = same["added_tokens"][1]["normalized"] = true;
  EXPECT_THAT(loading_error(same),
              HasSubstr("added tokens '<x>' and '<y>' are the same once they are normalized"));
}

TEST(Loading, RegularExpressionsAreChecked) {
  const auto error = [](const std::string& regex) {
    return loading_error(with("/pre_tokenizer", {{"type", "Split"},
                                                 {"pattern", {{"Regex", regex}}},
                                                 {"behavior", "Isolated"},
                                                 {"invert", false}}));
  };
  EXPECT_THAT(error("a("), HasSubstr("key pre_tokenizer.pattern.Regex: regular expression"));
  EXPECT_THAT(error("["), HasSubstr("class is not closed"));
  EXPECT_THAT(error("*a"), HasSubstr("cannot be compiled"));
  EXPECT_THAT(error("[a&&b]"), HasSubstr("intersection"));
  EXPECT_THAT(error("\\p{Nonsense}"), HasSubstr("property \\p{Nonsense}"));
  EXPECT_THAT(error(std::string(70'000, 'a')), HasSubstr("longer than 64 KiB"));
  EXPECT_THAT(error(std::string(1000, '(') + std::string(1000, ')')),
              HasSubstr("cannot be compiled"));
}

TEST(Loading, SplitAndMetaspaceOptionsAreChecked) {
  json split = {{"type", "Split"},
                {"pattern", {{"String", "a"}}},
                {"behavior", "isolated"},
                {"invert", false}};
  EXPECT_THAT(loading_error(with("/pre_tokenizer", split)),
              HasSubstr("behavior 'isolated' is not known"));
  split["pattern"] = {{"String", "a"}, {"Regex", "a"}};
  EXPECT_THAT(loading_error(with("/pre_tokenizer", split)), HasSubstr("one of String and Regex"));
  json metaspace = {{"type", "Metaspace"}, {"replacement", "__"}};
  EXPECT_THAT(loading_error(with("/pre_tokenizer", metaspace)),
              HasSubstr("expected one character, found '__'"));
  metaspace = {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "last"}};
  EXPECT_THAT(loading_error(with("/pre_tokenizer", metaspace)), HasSubstr("prepend scheme 'last'"));
  metaspace = {{"type", "Metaspace"}, {"replacement", "_"}, {"add_prefix_space", false}};
  EXPECT_THAT(loading_error(with("/pre_tokenizer", metaspace)),
              HasSubstr("add_prefix_space is false"));
}

TEST(Loading, TemplatesAreChecked) {
  const auto document = [](const std::vector<json>& single, const json& specials) {
    return with("/post_processor",
                {{"type", "TemplateProcessing"}, {"single", single}, {"special_tokens", specials}});
  };
  const json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const json start = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  const json known = {{"<s>", {{"id", "<s>"}, {"ids", {8}}, {"tokens", {"<s>"}}}}};
  EXPECT_NO_THROW(from_json(document({start, text}, known)));
  EXPECT_THAT(loading_error(document({start, text}, json::object())),
              HasSubstr("key <s> is missing"));
  EXPECT_THAT(loading_error(document({json{{"Sequence", {{"id", "B"}}}}}, known)),
              HasSubstr("sequence A"));
  json unknown_id = known;
  unknown_id["<s>"]["ids"] = {77};
  EXPECT_THAT(loading_error(document({start, text}, unknown_id)),
              HasSubstr("no token has the id 77"));
  json twice = document({text}, known);
  twice["post_processor"] = {{"type", "Sequence"},
                             {"processors", {twice["post_processor"], twice["post_processor"]}}};
  EXPECT_THAT(loading_error(twice), HasSubstr("second TemplateProcessing"));
}

TEST(Loading, MessagesAreOneShortLine) {
  const std::string error =
      loading_error(with("/model/vocab/" + std::string(100'000, 'x') + "\n", "no id"));
  EXPECT_LT(error.size(), 300u);
  EXPECT_EQ(error.find('\n'), std::string::npos);
}

class LegacyFiles : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(path_); }
  void TearDown() override { remove_tree(path_); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name) << text;
  }
  std::string error() const {
    try {
      Tokenizer::load(path_);
    } catch (const InputError& problem) {
      return problem.what();
    }
    ADD_FAILURE() << "loaded";
    return "";
  }
  std::filesystem::path path_ =
      std::filesystem::temp_directory_path() / ("factflow_legacy_" + std::to_string(getpid()));
};

TEST_F(LegacyFiles, VocabularyAndMergesMakeAByteLevelTokenizer) {
  write("vocab.json", R"({"a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ġab": 4, "<|endoftext|>": 5})");
  write("merges.txt", "#version: 0.2\r\na b\r\nĠ ab\n");
  EXPECT_THAT(error(), HasSubstr("tokenizer_config.json: is missing, and vocab.json is not that of "
                                 "GPT-2"));
  write("tokenizer_config.json", R"({"tokenizer_class": "GPT2Tokenizer"})");
  const Tokenizer tokenizer = Tokenizer::load(path_);
  EXPECT_EQ(tokenizer.encode("ab ab").ids, (std::vector<int>{2, 4}));
  EXPECT_EQ(tokenizer.encode("ab ab").offsets, (Offsets{{0, 2}, {2, 5}}));
  EXPECT_EQ(tokenizer.vocabulary_size(), 6);
  EXPECT_EQ(tokenizer.digest().size(), 32u);
}

TEST_F(LegacyFiles, BrokenFilesAreNamedWithTheLine) {
  EXPECT_THAT(error(), HasSubstr("found neither tokenizer.json nor vocab.json and merges.txt"));
  write("vocab.json", R"({"a": 0, "b": 1})");
  write("merges.txt", "#version: 0.2\na b c\n");
  EXPECT_THAT(error(), HasSubstr("merges.txt:2: expected two tokens"));
  write("merges.txt", "a b\n");
  EXPECT_THAT(error(), HasSubstr("merge 1 needs token 'ab'"));
  write("vocab.json", R"(["a"])");
  EXPECT_THAT(error(), HasSubstr("vocab.json: expected an object"));
}

TEST_F(LegacyFiles, TokenizerJsonGoesFirst) {
  write("vocab.json", R"({"a": 0})");
  write("merges.txt", "");
  write("tokenizer.json", "{");
  EXPECT_THAT(error(), HasSubstr("tokenizer.json: is not valid JSON"));
}

}  // namespace
}  // namespace factflow
