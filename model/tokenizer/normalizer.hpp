// The "normalizer" of a tokenizer.json: NFC, Prepend, Replace and sequences of them.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "model/tokenizer/aligned_text.hpp"
#include "model/tokenizer/json_node.hpp"
#include "model/tokenizer/regex.hpp"

namespace factflow {

class Normalizer {
 public:
  Normalizer() = default;                     // changes nothing
  explicit Normalizer(const JsonNode& node);  // throws InputError

  // Does nothing to an empty text. Throws InputError from a regular expression, std::length_error
  // if the text grows too long.
  void apply(AlignedText& text) const;

  // What stands for a space in the normalized text, if a step replaces spaces: "▁".
  std::optional<std::string> space_symbol() const;
  const std::vector<std::string>& names() const { return names_; }

 private:
  struct Nfc {};
  struct Prepend {
    std::string prefix;
  };
  struct Replace {
    Regex pattern;
    std::string content;
    bool of_space = false;
  };
  void read(const JsonNode& node);

  std::vector<std::variant<Nfc, Prepend, Replace>> steps_;
  std::vector<std::string> names_;
};

// The "pattern" of a Split or Replace: {"String": "..."} or {"Regex": "..."}.
Regex read_pattern(const JsonNode& node);

}  // namespace factflow
