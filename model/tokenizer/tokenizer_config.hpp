// What stands beside a tokenizer.json in the directory of a checkpoint: tokenizer_config.json,
// special_tokens_map.json, added_tokens.json, and the model's own config.json.
//
// Versions 4 and 5 of transformers read these files in different ways. What both do is obeyed. A
// key that makes them differ for every text is refused; where they differ for some texts only, as
// with classes that version 5 builds anew from the vocabulary, `rebuilt` finds out which.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "model/tokenizer/json_node.hpp"

namespace factflow {

// How a class of transformers makes a tokenizer from a vocabulary and merges.
enum class TokenizerClass {
  kFile,
  kLlama,
  kGpt2,
  kGptNeox,
  kQwen2,
  kQwen35,
  kGemma
};  // kFile: as the file says

class TokenizerConfig {
 public:
  // Reads the files; none need be there. Throws InputError for what is no JSON object, for a key
  // that is not known, and for one that asks for what this program does not do.
  explicit TokenizerConfig(const std::filesystem::path& directory);

  // Throws InputError, with the name of the key, where transformers 4 and 5 make different
  // tokenizers of `file`, the content of tokenizer.json, or where `file` lacks what is asked for.
  void check(const nlohmann::json& file) const;
  // The tokenizer.json that transformers 5 builds anew from the vocabulary of `file`; nothing if
  // it takes the file as it is, or comes to the same.
  std::optional<nlohmann::json> rebuilt(const nlohmann::json& file) const;

  // For a directory without tokenizer.json: "normalizer", "pre_tokenizer", "post_processor" and
  // "added_tokens" of the class, for a vocabulary {token: id}. Throws InputError if the class is
  // not known, or cannot be made of a vocabulary and merges.
  nlohmann::json components(const nlohmann::json& vocabulary) const;

  bool empty() const { return !configured_ && model_type_.empty(); }  // nothing is there
  const std::string& content() const { return content_; }  // of the files read, for a digest

 private:
  nlohmann::json read(const std::filesystem::path& directory, const char* name);
  void check_keys() const;
  void check_first_token(bool puts_one) const;
  void check_template(const nlohmann::json& file) const;
  void check_prefix_space(const nlohmann::json& file) const;
  void check_added_tokens(const nlohmann::json& file) const;
  TokenizerClass class_in_version_4() const;
  TokenizerClass class_in_version_5(const nlohmann::json& file) const;
  bool flag(const char* key, bool fallback) const;
  std::map<int, JsonNode> added_by_config() const;  // added_tokens_decoder: id -> token
  std::optional<std::string> named_token(const char* key) const;  // the content of "bos_token", ..
  [[noreturn]] void fail(const std::string& key, const std::string& problem) const;

  std::string file_;  // tokenizer_config.json, for messages
  std::string content_;
  std::string model_type_;                                 // of config.json; "" if there is none
  nlohmann::json config_, special_tokens_, added_tokens_;  // {} if there is no such file
  bool configured_ = false;                                // one of the first two is there
};

}  // namespace factflow
