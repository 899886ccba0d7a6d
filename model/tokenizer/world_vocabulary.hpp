// The vocabulary of RWKV's own tokenizer ("World"): tokens are strings of bytes, and a text is cut
// greedily, the longest token that fits first. Source: RWKV_TOKENIZER of the authors' package rwkv.
#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/post_processor.hpp"

namespace factflow {

class WorldVocabulary {
 public:
  // The name of the file in a checkpoint's directory.
  static constexpr const char* kFile = "rwkv_vocab_v20230424.txt";

  // The file's text: a line for each token, its id, a literal of Python ('...' or b'...') and its
  // bytes' number. `name` stands for the file in messages. Throws InputError naming the line for
  // what is no such line, a token or an id that is there twice, and a byte without a token.
  WorldVocabulary(std::string_view text, const std::string& name);

  // Appends the tokens of a text, of any bytes.
  void encode(std::string_view text, std::vector<EncodedToken>& tokens) const;
  const std::string* token(int id) const;  // its bytes; null if there is none
  int largest_id() const { return tokens_.empty() ? -1 : tokens_.rbegin()->first; }

 private:
  void add(int id, std::string bytes, const std::string& line);

  std::map<std::string, int, std::less<>> ids_;
  std::map<int, const std::string*> tokens_;  // into ids_
  std::array<size_t, 256> longest_{};         // token that begins with a byte
};

}  // namespace factflow
