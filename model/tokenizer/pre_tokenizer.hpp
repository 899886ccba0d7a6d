// The "pre_tokenizer" of a tokenizer.json: what cuts a text into words before the model sees it.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "model/tokenizer/added_tokens.hpp"
#include "model/tokenizer/json_node.hpp"
#include "model/tokenizer/regex.hpp"

namespace factflow {

// What becomes of the parts that a pattern matched: dropped, parts of their own, joined to the part
// before or behind, or joined among themselves.
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

// The parts that remain, as [begin, end); empty ones included.
std::vector<Match> split_parts(std::vector<Match> matches, SplitBehavior behavior);

class PreTokenizer {
 public:
  PreTokenizer() = default;                     // cuts nothing
  explicit PreTokenizer(const JsonNode& node);  // throws InputError

  // Throws InputError from a regular expression, std::length_error if a text grows too long.
  void apply(std::vector<Piece>& pieces) const;

  // Whether words come out written in byte symbols.
  bool byte_level() const;
  std::optional<std::string> space_symbol() const;  // of Metaspace: "▁"
  const std::vector<std::string>& names() const { return names_; }

 private:
  struct ByteLevel {
    bool add_prefix_space = false;
    std::optional<Regex> pattern;
  };
  struct Split {
    Regex pattern;
    SplitBehavior behavior = SplitBehavior::kIsolated;
    bool invert = false;
  };
  struct CharacterSplit {  // Digits, Punctuation
    bool (*is_match)(char32_t) = nullptr;
    SplitBehavior behavior = SplitBehavior::kIsolated;
  };
  enum class PrependScheme { kFirst, kNever, kAlways };
  struct Metaspace {
    std::string replacement;
    PrependScheme scheme = PrependScheme::kAlways;
    bool split = true;
  };
  using Step = std::variant<ByteLevel, Split, CharacterSplit, Metaspace>;

  void read(const JsonNode& node);
  static Step read_step(const JsonNode& node, const std::string& type);
  static Step read_metaspace(const JsonNode& node);
  static void apply_step(const ByteLevel& step, AlignedText& text, std::vector<Piece>& out);
  static void apply_step(const Split& step, AlignedText& text, std::vector<Piece>& out);
  static void apply_step(const CharacterSplit& step, AlignedText& text, std::vector<Piece>& out);
  static void apply_step(const Metaspace& step, AlignedText& text, std::vector<Piece>& out);

  std::vector<Step> steps_;
  std::vector<std::string> names_;
};

}  // namespace factflow
