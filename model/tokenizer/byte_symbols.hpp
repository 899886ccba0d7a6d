// GPT-2's alphabet: one printable character for each byte. Source: Radford et al. 2019, encoder.py.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace factflow {

// The symbol of each byte, as UTF-8; byte 0x20 is "Ġ".
const std::vector<std::string>& byte_symbols();

// The bytes that a token written in that alphabet stands for; a character outside the alphabet
// stands for itself.
std::string bytes_of_symbols(std::string_view token);

}  // namespace factflow
