// UTF-8 and the Unicode properties that tokenizers ask for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace factflow {

// Whether `text` is UTF-8 without overlong forms and surrogates.
bool valid_utf8(std::string_view text);

// Bytes of the UTF-8 character that starts with `lead`; 1 for a byte that starts none.
size_t utf8_length(char lead);

struct CodePoint {
  char32_t value = 0;
  size_t bytes = 0;  // its length in UTF-8
};

// The character at `position` of valid UTF-8; position < text.size().
CodePoint code_point_at(std::string_view text, size_t position);

// The character that ends right before `position` of valid UTF-8; position > 0.
CodePoint code_point_before(std::string_view text, size_t position);

void append_utf8(char32_t code_point, std::string& out);

// `bytes` with everything that is no complete UTF-8 character replaced by U+FFFD.
std::string lossy_utf8(std::string_view bytes);

bool is_whitespace(char32_t c);   // White_Space, as Rust's char::is_whitespace
bool is_numeric(char32_t c);      // Nd, Nl, No, as Rust's char::is_numeric
bool is_punctuation(char32_t c);  // ASCII punctuation or P* of Unicode 8
bool is_word(char32_t c);         // \w of Unicode TS 18 annex C

// One character of a rewritten text, in the order of the new text.
//   change = 0   it stands for the next character of the old text
//   change = -n  the same, and the n characters that follow that one are gone
//   change > 0   it is new
struct CharChange {
  char32_t value = 0;
  int change = 0;
};

// The canonical composition (NFC) of valid UTF-8 as changes; empty if `text` has no character that
// NFC can touch. A composed character stands for the first of the characters it was composed of.
std::vector<CharChange> nfc_changes(std::string_view text);

}  // namespace factflow
