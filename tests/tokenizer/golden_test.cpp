// Every component against what the tokenizers library gave; golden/make_golden.py is the recipe.
#include <fstream>

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "test_tokenizers.hpp"
#include "tests/source_dir.hpp"

namespace factflow {
namespace {

using nlohmann::json;

json read_json(const std::string& path) {
  return json::parse(std::ifstream(source_dir() + path));
}

json document_of(const json& test_case, const json& models) {
  json document = small_tokenizer();
  document["model"] = models.at(test_case.at("model"));
  document["model"].update(test_case.at("options"));
  for (const char* key : {"normalizer", "pre_tokenizer", "post_processor", "added_tokens"})
    document[key] = test_case.at(key);
  return document;
}

// In the form of the golden file.
json encode(const Tokenizer& tokenizer, const std::string& text) {
  try {
    const Encoding full = tokenizer.encode(text);
    const Encoding bare = tokenizer.encode(text, false);
    json result = {full.ids, full.offsets};
    if (full.ids != bare.ids) result.push_back(bare.ids);
    return result;
  } catch (const InputError&) {
    return nullptr;
  }
}

TEST(Golden, EveryComponentGivesTheIdsAndOffsetsOfTheLibrary) {
  const json golden = read_json("/tests/tokenizer/golden/golden.json");
  const json models = {{"demo", read_json("/demo/models/gpt2/tokenizer.json").at("model")},
                       {"small", golden.at("small")}};
  size_t compared = 0;
  for (const json& test_case : golden.at("cases")) {
    const Tokenizer tokenizer = from_json(document_of(test_case, models));
    const json& texts = test_case.contains("texts") ? test_case.at("texts") : golden.at("texts");
    ASSERT_EQ(texts.size(), test_case.at("results").size());
    for (size_t i = 0; i < texts.size(); ++i, ++compared) {
      EXPECT_EQ(encode(tokenizer, texts[i]), test_case.at("results")[i])
          << test_case.at("name") << ", text " << texts[i];
    }
  }
  EXPECT_GT(compared, 6000u);
}

}  // namespace
}  // namespace factflow
