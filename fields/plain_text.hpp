// Checks and repairs of text that came from outside, shared by configuration and datasets.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.hpp"

namespace factflow {

// Whether the bytes are UTF-8 without NUL characters, which would end the text early wherever C
// reads it.
bool is_clean_utf8(std::string_view text);

// Without ASCII white space at both ends.
std::string_view trim(std::string_view text);

// Text for a message: on one line, control characters as '?', cut after 60 bytes.
std::string excerpt(std::string_view text);

// The whole text as a decimal number without sign, or nothing if it is none or does not fit.
std::optional<std::int64_t> parse_whole_number(std::string_view text);

// A prompt's id: a whole number, which tables that know only floats write as "7.0".
std::optional<std::int64_t> parse_id(std::string_view text);

// How the first place where `text` holds something like `word` is written differently: "with other
// upper and lower case", "in another Unicode form (...)"; "" if `text` holds nothing like it.
std::string difference_in_writing(std::string_view text, std::string_view word);

// Numbers for a message: "5, 6, 7", or the ten smallest and how many more there are.
std::string some_of(std::vector<std::int64_t> ids);

}  // namespace factflow
