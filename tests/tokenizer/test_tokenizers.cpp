#include "test_tokenizers.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "base/text.hpp"

namespace factflow {

nlohmann::json small_tokenizer() {
  return nlohmann::json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
    "pre_tokenizer": null, "post_processor": null, "decoder": null,
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
      "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
      "vocab": {"a": 0, "b": 1, "c": 2, "h": 3, "e": 4, "l": 5, "o": 6, "▁": 7, "<s>": 8, "ab": 9, "abc": 10},
      "merges": [["a", "b"], ["ab", "c"]]}})");
}

Tokenizer from_json(const nlohmann::json& document) {
  return Tokenizer::parse(document.dump(), "t.json");
}

std::string parsing_error(const std::string& text) {
  try {
    Tokenizer::parse(text, "t.json");
  } catch (const InputError& error) {
    EXPECT_TRUE(std::string(error.what()).starts_with("t.json")) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "loaded " << text.substr(0, 200);
  return "";
}

std::string loading_error(const nlohmann::json& document) {
  return parsing_error(document.dump());
}

std::string tokens_of(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<std::string> tokens;
  for (const int id : tokenizer.encode(text, false).ids) tokens.push_back(tokenizer.token_text(id));
  return join(tokens, "|");
}

}  // namespace factflow
