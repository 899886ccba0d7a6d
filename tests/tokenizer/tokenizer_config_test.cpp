// What stands beside tokenizer.json: obeyed where transformers 4 and 5 do the same, refused by the
// key's name where they do not.
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "model/prompt.hpp"
#include "test_tokenizers.hpp"
#include "tests/source_dir.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow {
namespace {

using nlohmann::json;
using testing::HasSubstr;

const std::filesystem::path kShared = std::filesystem::path(source_dir()) / ".." / "shared";

class ConfigFiles : public testing::Test {
 protected:
  ConfigFiles() {
    file_["added_tokens"] = {{{"id", 8},
                              {"content", "<s>"},
                              {"single_word", false},
                              {"lstrip", false},
                              {"rstrip", false},
                              {"normalized", false},
                              {"special", true}}};
  }
  void put_bos() {
    file_["post_processor"] = json::parse(R"({"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [8], "tokens": ["<s>"]}}})");
  }
  Tokenizer load(const std::string& config, const std::string& model_type = "") {
    scratch_.write("tokenizer.json", file_.dump());
    return load_directory(config, model_type);
  }
  Tokenizer load_directory(const std::string& config, const std::string& model_type) {
    scratch_.write("tokenizer_config.json", config);
    if (!model_type.empty()) scratch_.write("config.json", json{{"model_type", model_type}}.dump());
    return Tokenizer::load(scratch_.path());
  }
  std::string error(const std::string& config, const std::string& model_type = "") {
    try {
      load(config, model_type);
    } catch (const InputError& problem) {
      return problem.what();
    }
    return "loaded";
  }

  json file_ = small_tokenizer();
  TemporaryDirectory scratch_;
};

TEST_F(ConfigFiles, ABosThatTheFileDoesNotPutIsRefused) {
  constexpr const char* kAsked = R"({"tokenizer_class": "LlamaTokenizerFast", "add_bos_token": true,
      "bos_token": {"__type": "AddedToken", "content": "<s>", "normalized": true}})";
  EXPECT_THAT(error(kAsked), HasSubstr("tokenizer_config.json: key add_bos_token: puts '<s>'"));
  EXPECT_THAT(error(kAsked, "qwen2"), HasSubstr("key add_bos_token"));
  EXPECT_THAT(error(R"({"tokenizer_class": "LlamaTokenizer"})"), HasSubstr("key add_bos_token"));
  EXPECT_EQ(error(R"({"tokenizer_class": "LlamaTokenizer", "add_bos_token": false})"), "loaded");
  EXPECT_THAT(error(R"({"tokenizer_class": "GPTNeoXTokenizer", "add_bos_token": true,
                        "bos_token": "<s>"})"),
              HasSubstr("key add_bos_token"));
  put_bos();
  EXPECT_EQ(load(kAsked).encode("a").ids, (std::vector<int>{8, 0}));
  EXPECT_THAT(error(R"({"tokenizer_class": "LlamaTokenizer", "add_bos_token": false})"),
              HasSubstr("key add_bos_token"));
  EXPECT_THAT(error(R"({"tokenizer_class": "LlamaTokenizer", "add_eos_token": true,
                        "eos_token": "<s>"})"),
              HasSubstr("key add_eos_token"));
}

TEST_F(ConfigFiles, AClassThatTakesTheFileNeedsNoFlag) {
  EXPECT_EQ(error(R"({"tokenizer_class": "PreTrainedTokenizerFast"})"), "loaded");
  EXPECT_EQ(error(R"({"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": false})"),
            "loaded");
  EXPECT_THAT(error(R"({"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": true,
                        "bos_token": "<s>"})"),
              HasSubstr("key add_bos_token"));
  put_bos();
  EXPECT_EQ(error(R"({"tokenizer_class": "PreTrainedTokenizerFast"})"), "loaded");
}

TEST_F(ConfigFiles, KeysAreKnownOrRefusedAtEveryDepth) {
  EXPECT_EQ(error(R"({"chat_template": "x", "model_max_length": 1000000000000000019884624838656,
                      "clean_up_tokenization_spaces": true, "legacy": true, "sp_model_kwargs": {},
                      "split_special_tokens": false, "errors": "replace", "pad_token": null})"),
            "loaded");
  EXPECT_THAT(error(R"({"add_bos": true})"), HasSubstr("key add_bos: is not known"));
  EXPECT_THAT(error(R"({"split_special_tokens": true})"), HasSubstr("key split_special_tokens"));
  EXPECT_THAT(error(R"({"do_lower_case": true})"), HasSubstr("key do_lower_case"));
  EXPECT_THAT(error(R"({"tokenizer_class": "BertTokenizer"})"), HasSubstr("key tokenizer_class"));
  EXPECT_THAT(error(R"({"added_tokens_decoder": {"8": {"content": "<s>", "strip": true}}})"),
              HasSubstr("key added_tokens_decoder.8"));
  EXPECT_THAT(error(R"({"added_tokens_decoder": {"x": {"content": "<s>"}}})"),
              HasSubstr("key added_tokens_decoder.x"));
  EXPECT_THAT(error(R"({"add_bos_token": "yes"})"), HasSubstr("key add_bos_token"));
  EXPECT_THAT(error("[]"), HasSubstr("tokenizer_config.json: expected an object"));
}

TEST_F(ConfigFiles, AddedTokensAreThoseOfTheFile) {
  EXPECT_EQ(error(R"({"added_tokens_decoder": {"8": {"content": "<s>", "special": true}}})"),
            "loaded");
  EXPECT_THAT(error(R"({"added_tokens_decoder": {"8": {"content": "<s>", "special": true,
                                                       "lstrip": true}}})"),
              HasSubstr("key added_tokens_decoder.8"));
  EXPECT_THAT(error(R"({"added_tokens_decoder": {"11": {"content": "<x>"}}})"),
              HasSubstr("key added_tokens_decoder.11"));
  // Version 5 builds a class anew with these tokens alone.
  EXPECT_EQ(error(R"({"added_tokens_decoder": {}})"), "loaded");
  EXPECT_THAT(error(R"({"added_tokens_decoder": {}, "tokenizer_class": "GPT2Tokenizer"})"),
              HasSubstr("key added_tokens_decoder: lacks '<s>'"));
  EXPECT_THAT(error(R"({"pad_token": "<pad>"})"), HasSubstr("key pad_token"));
  EXPECT_THAT(error(R"({"additional_special_tokens": ["<x>"]})"),
              HasSubstr("key additional_special_tokens"));
  scratch_.write("added_tokens.json", R"({"<x>": 11})");
  EXPECT_THAT(error("{}"), HasSubstr("added_tokens.json"));
}

TEST_F(ConfigFiles, Qwen2sSpecialTokensHaveNoProperties) {
  constexpr const char* kConfig = R"({"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<s>"})";
  EXPECT_EQ(error(kConfig), "loaded");
  file_["added_tokens"][0]["lstrip"] = true;
  EXPECT_THAT(error(kConfig), HasSubstr("key eos_token: names '<s>', whose property lstrip"));
}

TEST_F(ConfigFiles, OtherFilesNameSpecialTokensToo) {
  scratch_.write("special_tokens_map.json", R"({"pad_token": "<pad>"})");
  EXPECT_THAT(error("{}"), HasSubstr("key pad_token"));
  scratch_.write("special_tokens_map.json", R"({"pad_token": "<s>"})");
  EXPECT_EQ(error("{}"), "loaded");
}

TEST_F(ConfigFiles, APrefixSpaceIsThatOfTheFile) {
  file_["pre_tokenizer"] = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
  EXPECT_EQ(error(R"({"add_prefix_space": false})"), "loaded");
  EXPECT_THAT(error(R"({"add_prefix_space": null, "tokenizer_class": "GPT2Tokenizer"})"),
              HasSubstr("key add_prefix_space"));
  EXPECT_THAT(error(R"({"add_prefix_space": true})"), HasSubstr("key add_prefix_space"));
  file_["pre_tokenizer"]["add_prefix_space"] = true;
  EXPECT_EQ(error(R"({"add_prefix_space": true})"), "loaded");
  EXPECT_THAT(error(R"({"model_max_length": 8})"), HasSubstr("key add_prefix_space"));
}

// Version 5 cuts with the class's pattern whatever the file says.
TEST_F(ConfigFiles, TextsThatTheVersionsCutDifferentlyAreRefused) {
  file_["pre_tokenizer"] = json::parse(R"({"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"String": "a"}, "behavior": "Isolated", "invert": false},
      {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]})");
  const Tokenizer tokenizer = load(R"({"tokenizer_class": "GPT2Tokenizer"})");
  EXPECT_NO_THROW(tokenizer.require_agreement("ba"));
  EXPECT_THROW(tokenizer.require_agreement("ab"), InputError);  // one token for version 5
  EXPECT_EQ(tokenizer.encode("ab").ids, (std::vector<int>{0, 1}));
  EXPECT_THROW(tokenize(tokenizer, {1, "b ab", "b", 0, " c", ""}, AnswerRule::kContinuation),
               InputError);
}

// vocab.json and merges.txt alone.
class Vocabulary : public ConfigFiles {
 protected:
  Vocabulary() {
    scratch_.write("vocab.json", R"({"1": 0, "2": 1, "12": 2, "Ã": 3, "©": 4, "Ã©": 5, "e": 6,
        "Ì": 7, "ģ": 8, "Ġ": 9, "Ġ1": 10, "a": 11})");
    scratch_.write("merges.txt", "#version: 0.2\n1 2\nÃ ©\nĠ 1\n");
  }
};

TEST_F(Vocabulary, IsReadByTheRuleOfItsClass) {
  const std::string text = "12 1e\u0301";  // a decomposed é
  EXPECT_EQ(load_directory(R"({"tokenizer_class": "GPT2Tokenizer"})", "").encode(text).ids,
            (std::vector<int>{2, 10, 6, 7, 8}));
  EXPECT_EQ(load_directory(R"({"tokenizer_class": "GPTNeoXTokenizer"})", "").encode(text).ids,
            (std::vector<int>{2, 10, 5}));
  EXPECT_EQ(load_directory(R"({"tokenizer_class": "Qwen2Tokenizer"})", "").encode(text).ids,
            (std::vector<int>{0, 1, 9, 0, 5}));
  EXPECT_EQ(load_directory("{}", "qwen2").encode(text).ids, (std::vector<int>{0, 1, 9, 0, 5}));
  EXPECT_EQ(load_directory("{}", "mamba").encode(text).ids, (std::vector<int>{2, 10, 5}));
}

TEST_F(Vocabulary, OfAnotherClassIsRefused) {
  for (const char* config : {R"({"tokenizer_class": "LlamaTokenizer"})", "{}"}) try {
      load_directory(config, "llama");
      ADD_FAILURE() << config;
    } catch (const InputError& problem) {
      EXPECT_THAT(problem.what(), HasSubstr("key tokenizer_class"));
    }
}

TEST_F(Vocabulary, HasTheSpecialTokensOfItsClass) {
  const Tokenizer tokenizer = load_directory(R"({"tokenizer_class": "GPT2Tokenizer",
      "add_bos_token": true, "bos_token": "a"})",
                                             "");
  EXPECT_EQ(tokenizer.encode("1").ids, (std::vector<int>{11, 0}));
  EXPECT_EQ(tokenizer.encode("1<|endoftext|>", false).ids, (std::vector<int>{0, 12}));
}

TEST_F(Vocabulary, HasAFirstTokenWhereTheModelNeedsOne) {
  constexpr const char* kFirst = R"({"tokenizer_class": "GPT2Tokenizer", "add_bos_token": true,
                                     "bos_token": "a"})";
  EXPECT_EQ(load_directory(kFirst, "opt").encode("1").ids, (std::vector<int>{11, 0}));
  try {
    load_directory(R"({"tokenizer_class": "GPT2Tokenizer"})", "opt");
    ADD_FAILURE() << "loaded";
  } catch (const InputError& problem) {
    EXPECT_THAT(problem.what(), HasSubstr("puts no token before a text, and a model of the family "
                                          "opt needs one"));
  }
}

// Version 5 makes the tokenizers of Qwen3.5 anew, whose words have marks in them.
TEST_F(ConfigFiles, AClassThatIsMadeAnewIsHeldAgainstTheFile) {
  const Tokenizer tokenizer = load(R"({"tokenizer_class": "Qwen2Tokenizer"})", "qwen3_5_moe");
  EXPECT_THROW(tokenizer.require_agreement("ab\u2581"), InputError);
  EXPECT_NO_THROW(load(R"({"tokenizer_class": "Qwen2Tokenizer"})", "olmo_hybrid")
                      .require_agreement("ab\u2581"));
}

TEST(PublishedFiles, Load) {
  if (!std::filesystem::exists(kShared / "tokenizers")) GTEST_SKIP() << "no shared tokenizers";
  for (const char* name : {"llama-2", "llama-3", "qwen3"})
    EXPECT_NO_THROW(Tokenizer::load(kShared / "tokenizers" / name)) << name;
  const Tokenizer llama = Tokenizer::load(kShared / "tokenizers/llama-2");
  EXPECT_NO_THROW(llama.require_agreement("The Space Needle is in"));
  EXPECT_THROW(llama.require_agreement(" The Space Needle is in"), InputError);
}

}  // namespace
}  // namespace factflow
