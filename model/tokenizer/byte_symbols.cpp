#include "model/tokenizer/byte_symbols.hpp"

#include <array>

#include "model/tokenizer/unicode.hpp"

namespace factflow {
namespace {

constexpr int kNoByte = -1;

bool is_own_symbol(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) ||
         (byte >= 0xAE && byte <= 0xFF);
}

// Bytes that are not printable take the characters from U+0100 on, in order.
std::array<char32_t, 256> byte_code_points() {
  std::array<char32_t, 256> code_points{};
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    code_points[static_cast<size_t>(byte)] =
        is_own_symbol(byte) ? static_cast<char32_t>(byte) : next++;
  }
  return code_points;
}

}  // namespace

const std::vector<std::string>& byte_symbols() {
  static const std::vector<std::string> symbols = [] {
    std::vector<std::string> list;
    for (const char32_t c : byte_code_points()) append_utf8(c, list.emplace_back());
    return list;
  }();
  return symbols;
}

std::string bytes_of_symbols(std::string_view token) {
  static const std::array<int, 0x200> bytes = [] {
    std::array<int, 0x200> table;
    table.fill(kNoByte);
    const auto code_points = byte_code_points();
    for (size_t byte = 0; byte < 256; ++byte) table[code_points[byte]] = static_cast<int>(byte);
    return table;
  }();
  std::string out;
  for (size_t position = 0; position < token.size();) {
    const CodePoint c = code_point_at(token, position);
    const int byte = c.value < bytes.size() ? bytes[c.value] : kNoByte;
    if (byte == kNoByte) {
      out += token.substr(position, c.bytes);
    } else {
      out += static_cast<char>(byte);
    }
    position += c.bytes;
  }
  return out;
}

}  // namespace factflow
