// Tokens that are found in the text itself, before the model sees it: <s>, <|endoftext|>, runs of
// spaces.
#pragma once

#include <array>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/tokenizer/aligned_text.hpp"

namespace factflow {

class JsonNode;
class Normalizer;
class Bpe;

// A part of a text on its way to tokens. A part with a token is finished: nothing rewrites or cuts
// it any more.
struct Piece {
  static constexpr int kNoToken = -1;
  AlignedText text;
  int token = kNoToken;
};

struct AddedToken {
  std::string content;
  int id = 0;
  bool single_word = false;  // only where no word character touches it
  bool strip_left = false;   // takes the white space before it along
  bool strip_right = false;  // takes the white space behind it along
  bool normalized = false;   // found in the normalized text, as its own normalized form
  bool special = false;
};

class AddedTokens {
 public:
  AddedTokens() = default;
  // The array "added_tokens" of a tokenizer.json. Throws InputError if an id is not the one that
  // the tokenizers library gives this token (that of the model's vocabulary, or the next free one),
  // or if content or id appear twice.
  AddedTokens(const JsonNode& list, const Bpe& model, const Normalizer& normalizer);

  // Cuts a text at the tokens found in it and normalizes what lies between. Empty parts are left
  // out.
  std::vector<Piece> extract(const AlignedText& text, const Normalizer& normalizer) const;

  const AddedToken* token(int id) const;  // null if there is none
  const std::vector<AddedToken>& tokens() const { return tokens_; }

 private:
  // Leftmost-longest search for many strings.
  class Trie {
   public:
    void add(std::string_view pattern, int token);
    struct Hit {
      size_t end = 0;
      int token = Piece::kNoToken;  // index into tokens_
    };
    Hit longest_at(std::string_view text, size_t position) const;
    bool empty() const { return nodes_.size() == 1; }

   private:
    struct Node {
      std::map<char, int> next;
      int token = Piece::kNoToken;
    };
    std::vector<Node> nodes_ = std::vector<Node>(1);
    std::array<bool, 256> starts_{};
  };

  void add(const JsonNode& entry, const Bpe& model, int& next_free_id);
  void cut(const AlignedText& text, const Trie& trie, std::vector<Piece>& pieces) const;
  bool stands_alone(std::string_view text, size_t begin, size_t end) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<int, size_t> by_id_;
  Trie raw_, normalized_;
};

}  // namespace factflow
