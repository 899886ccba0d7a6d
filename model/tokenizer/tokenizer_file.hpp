// What the files of a tokenizer hold, read and checked.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "model/tokenizer/added_tokens.hpp"
#include "model/tokenizer/bpe.hpp"
#include "model/tokenizer/normalizer.hpp"
#include "model/tokenizer/post_processor.hpp"
#include "model/tokenizer/pre_tokenizer.hpp"
#include "model/tokenizer/world_vocabulary.hpp"

namespace factflow {

struct TokenizerFile {
  std::string name;    // of the file, for messages
  std::string digest;  // XXH3-128 of the files read, hex
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  Bpe model;
  AddedTokens added;
  PostProcessor post_processor;
  std::optional<WorldVocabulary> world = {};  // in place of all of these (RWKV)
};

struct TokenizerFiles {
  TokenizerFile file;
  // What transformers 5 makes of the file's vocabulary, if that is something else.
  std::optional<TokenizerFile> rebuilt;
};

// Both throw InputError.
TokenizerFile parse_tokenizer_json(std::string_view text, const std::string& name);
TokenizerFiles read_tokenizer_files(const std::filesystem::path& path);

}  // namespace factflow
