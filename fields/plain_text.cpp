#include "fields/plain_text.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <utf8proc.h>

namespace factflow {
namespace {

constexpr int kComposed = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
              kDecomposed = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;

// In the form that options of utf8proc_map() make; as it is where that fails.
std::string mapped(std::string_view text, int options) {
  utf8proc_uint8_t* made = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &made,
                                             static_cast<utf8proc_option_t>(options));
  if (size < 0) return std::string(text);
  std::string out(reinterpret_cast<const char*>(made), static_cast<size_t>(size));
  std::free(made);  // as utf8proc asks its callers to
  return out;
}

}  // namespace

bool is_clean_utf8(std::string_view text) {
  while (!text.empty()) {
    if (text[0] == '\0') return false;
    if (static_cast<unsigned char>(text[0]) < 0x80) {
      text.remove_prefix(1);
      continue;
    }
    utf8proc_int32_t codepoint = 0;
    const auto room = static_cast<utf8proc_ssize_t>(std::min<size_t>(text.size(), 4));
    const auto length =
        utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), room, &codepoint);
    if (length <= 0) return false;
    text.remove_prefix(static_cast<size_t>(length));
  }
  return true;
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::string excerpt(std::string_view text) {
  constexpr size_t kLongest = 60;
  std::string shown(text.substr(0, kLongest));
  // A cut inside a character would leave broken UTF-8: drop its head.
  if (text.size() > kLongest && (text[kLongest] & 0xC0) == 0x80) {
    while (!shown.empty() && (shown.back() & 0xC0) == 0x80) shown.pop_back();
    if (!shown.empty()) shown.pop_back();
  }
  if (!is_clean_utf8(shown))
    std::replace_if(
        shown.begin(), shown.end(), [](char c) { return (c & 0x80) != 0; }, '?');
  std::replace_if(
      shown.begin(), shown.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; }, '?');
  return text.size() > kLongest ? shown + "..." : shown;
}

std::optional<std::int64_t> parse_whole_number(std::string_view text) {
  std::int64_t value = 0;
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::int64_t> parse_id(std::string_view text) {
  const size_t dot = text.find('.');
  if (dot == text.npos) return parse_whole_number(text);
  const std::string_view zeros = text.substr(dot + 1);
  if (zeros.empty() || zeros.find_first_not_of('0') != zeros.npos) return std::nullopt;
  return parse_whole_number(text.substr(0, dot));
}

std::string difference_in_writing(std::string_view text, std::string_view word) {
  const auto alike = [&](int form) {
    return mapped(text, form).find(mapped(word, form)) != std::string::npos;
  };
  const auto form_of = [](std::string_view given) {
    if (mapped(given, kComposed) == given) return "NFC";
    return mapped(given, kDecomposed) == given ? "NFD" : "neither NFC nor NFD";
  };
  if (word.empty()) return "";
  if (alike(kComposed))
    return fmt::format("in another Unicode form (this one {}, the text {})", form_of(word),
                       form_of(text));
  if (alike(kComposed | UTF8PROC_CASEFOLD)) return "with other upper and lower case";
  if (alike(kComposed | UTF8PROC_CASEFOLD | UTF8PROC_COMPAT))
    return "with characters that only look alike (Unicode forms NFKC and NFC)";
  return "";
}

std::string some_of(std::vector<std::int64_t> ids) {
  constexpr size_t kMost = 10;
  std::sort(ids.begin(), ids.end());
  const size_t shown = std::min(ids.size(), kMost);
  const std::string text = fmt::format(
      "{}", fmt::join(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(shown), ", "));
  return shown == ids.size() ? text : fmt::format("{} and {} more", text, ids.size() - shown);
}

}  // namespace factflow
