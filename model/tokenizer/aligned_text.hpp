// A text that is being rewritten step by step, and for each of its bytes the bytes of the original
// text it stands for. Offsets of tokens come out of this: what the tokenizers library calls a
// NormalizedString.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/tokenizer/unicode.hpp"

namespace factflow {

// The largest text, original or rewritten, in bytes. Larger ones throw std::length_error.
inline constexpr size_t kMaxTextBytes = size_t{1} << 20;

// A part of a text, and whether a pattern matched it.
struct Match {
  size_t begin = 0;
  size_t end = 0;
  bool matched = false;
  bool operator==(const Match&) const = default;
};

class AlignedText {
 public:
  explicit AlignedText(std::string_view original);

  const std::string& text() const { return text_; }
  bool empty() const { return text_.empty(); }
  // Where this text begins in the original one.
  std::uint32_t begin() const { return begin_; }

  // [begin, end) bytes of the original that bytes [begin, end) of text() stand for; begin < end <=
  // size.
  std::pair<std::int64_t, std::int64_t> original(size_t begin, size_t end) const;

  AlignedText slice(size_t begin, size_t end) const;

  // Puts `prefix` before a text that is not empty; it stands for what the first character stands
  // for.
  void prepend(std::string_view prefix);

  // Replaces every match by `content`, which stands for the last character of the match. Matches
  // are ascending and cover the text.
  void replace(const std::vector<Match>& matches, std::string_view content);

  void rewrite(const std::vector<CharChange>& changes);

  // Replaces every byte b by symbols[b]; each stands for the character that the byte is part of.
  void map_bytes(const std::vector<std::string>& symbols);

 private:
  struct Span {
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
  };
  AlignedText() = default;
  void append(std::string_view bytes, Span source);
  void check_size() const;

  std::string text_;
  std::vector<Span> source_;  // one per byte of text_
  std::uint32_t begin_ = 0;
};

}  // namespace factflow
