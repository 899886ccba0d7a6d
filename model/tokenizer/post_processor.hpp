// The "post_processor" of a tokenizer.json: special tokens around the text, and offsets without
// white space.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "model/tokenizer/json_node.hpp"

namespace factflow {

struct EncodedToken {
  int id = 0;
  std::int64_t begin = 0;  // [begin, end) bytes of the original text
  std::int64_t end = 0;
  // Characters at the start of the token's own text that are white space or "Ġ".
  int leading_spaces = 0;
  int trailing_spaces = 0;  // likewise at its end
};

// Fills in the number of spaces around the text of a token.
void count_spaces(std::string_view token_text, EncodedToken& token);

class PostProcessor {
 public:
  PostProcessor() = default;                     // changes nothing
  explicit PostProcessor(const JsonNode& node);  // throws InputError

  // Special tokens get the offsets (0, 0). `original` is the text that offsets refer to.
  std::vector<EncodedToken> apply(std::vector<EncodedToken> tokens, std::string_view original,
                                  bool add_special_tokens) const;

  bool trims_offsets() const;            // whether it reads leading_spaces and trailing_spaces
  std::vector<int> special_ids() const;  // ids that it puts around a text
  const std::vector<std::string>& names() const { return names_; }  // "template <s> $A"

 private:
  struct ByteLevel {
    bool add_prefix_space = false;
    bool trim_offsets = false;
  };
  struct Template {
    std::vector<std::optional<std::vector<int>>> parts;  // nothing: the text itself
  };
  void read(const JsonNode& node);
  Template read_template(const JsonNode& node);
  static void trim(const ByteLevel& step, std::string_view original,
                   std::vector<EncodedToken>& tokens);

  std::vector<std::variant<ByteLevel, Template>> steps_;
  std::vector<std::string> names_;
};

}  // namespace factflow
