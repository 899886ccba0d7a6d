// Byte-pair encoding: the model of a tokenizer. Source: Sennrich et al. 2016, as the tokenizers
// library runs it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace factflow {

struct BpeOptions {
  // The token of characters that are not in the vocabulary; none: they are dropped.
  std::optional<std::string> unknown;
  bool fuse_unknown = false;  // neighbouring unknown characters become one token
  // Unknown characters become tokens <0x00> .. <0xFF> where all of those exist.
  bool byte_fallback = false;
  bool ignore_merges = false;  // a word that is a token is that token, whatever the merges say
};

// What a merge rule joins, first rule first.
using BpeMerges = std::vector<std::pair<std::string, std::string>>;

class Bpe {
 public:
  // `vocabulary`: token and id, both unique. `where` names the file in errors. Throws InputError
  // for a merge of or to an unknown token and for duplicates.
  Bpe(std::vector<std::pair<std::string, int>> vocabulary, const BpeMerges& merges,
      BpeOptions options, std::string where);
  Bpe(Bpe&&) = default;
  Bpe& operator=(Bpe&&) = default;
  Bpe(const Bpe&) = delete;
  Bpe& operator=(const Bpe&) = delete;

  struct Token {
    int id = 0;
    std::uint32_t bytes = 0;  // of the word; tokens lie one behind the other
  };
  // Appends the tokens of a word (valid UTF-8). Throws InputError if it needs an unknown token that
  // does not exist.
  void encode(std::string_view word, std::vector<Token>& tokens) const;

  std::optional<int> id_of(std::string_view token) const;
  const std::string* token(int id) const;  // null if there is none
  size_t size() const { return vocabulary_.size(); }
  int largest_id() const { return largest_id_; }
  const BpeOptions& options() const { return options_; }

 private:
  struct Merge {
    std::uint32_t rank = 0;
    int id = 0;
  };
  struct Scratch;
  static std::uint64_t pair_key(int left, int right);
  const Merge* merge_of(int left, int right) const;
  void add_merge(size_t rank, const std::string& left, const std::string& right);
  int known_token(std::string_view token, size_t rank) const;
  void split_characters(std::string_view word, Scratch& scratch) const;
  bool append_bytes(std::string_view character, Scratch& scratch) const;
  int character_id(char32_t c, std::string_view character) const;
  void merge_all(Scratch& scratch) const;

  std::vector<std::pair<std::string, int>> vocabulary_;
  std::unordered_map<std::string_view, int> ids_;  // views into vocabulary_
  std::unordered_map<int, const std::string*> tokens_;
  std::unordered_map<std::uint64_t, Merge> merges_;
  // Of single characters below U+0200; -1 if there is none.
  std::array<int, 0x200> character_ids_{};
  std::array<int, 256> byte_ids_{};  // of <0x00> .. <0xFF>; -1 if there is none
  std::optional<int> unknown_id_;
  int largest_id_ = -1;
  BpeOptions options_;
  std::string where_;
};

}  // namespace factflow
