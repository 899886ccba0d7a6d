// One step of the tokenizer fuzzer, shared with the test that replays its findings.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "model/tokenizer/tokenizer.hpp"

namespace factflow {

// Throws std::logic_error for offsets outside of the text and for ids outside of the vocabulary.
inline void encode_and_check(const Tokenizer& tokenizer, std::string_view text) {
  const Encoding encoding = tokenizer.encode(text.substr(0, 512));
  for (size_t i = 0; i < encoding.ids.size(); ++i) {
    const auto [begin, end] = encoding.offsets[i];
    if (begin < 0 || begin > end || end > static_cast<std::int64_t>(text.size()))
      throw std::logic_error("offsets out of range");
    if (encoding.ids[i] >= tokenizer.vocabulary_size() || !tokenizer.has_token(encoding.ids[i]))
      throw std::logic_error("id out of range");
    tokenizer.token_text(encoding.ids[i]);
  }
}

// `input`: a tokenizer.json and, behind a byte 0xFF, the text to encode. InputError is the only way
// to refuse either.
inline void load_and_encode(std::string_view input) {
  const size_t separator = input.find('\xff');
  const std::string_view text =
      separator == std::string_view::npos ? "hello, w\u00f6rld 12" : input.substr(separator + 1);
  try {
    encode_and_check(Tokenizer::parse(input.substr(0, separator), "input"), text);
  } catch (const InputError&) {
    return;
  }
}

}  // namespace factflow
