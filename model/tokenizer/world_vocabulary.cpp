#include "model/tokenizer/world_vocabulary.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "model/tokenizer/unicode.hpp"

namespace factflow {
namespace {

constexpr int kLargestId = 1 << 24;

template <class Number>
std::optional<Number> number_in(std::string_view digits, int base = 10) {
  Number value{};
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, value, base);
  return error == std::errc() && stop == end ? std::optional(value) : std::nullopt;
}

// The bytes of a literal of Python, '...' or "...", with b before it where characters are bytes.
class Literal {
 public:
  explicit Literal(std::string_view text) : text_(text), bytes_(text.starts_with('b')) {
    if (bytes_) text_.remove_prefix(1);
  }

  // Nothing: it is none, or has an escape that such files do not have.
  std::optional<std::string> value() {
    if (text_.size() < 2 || (text_.front() != '\'' && text_.front() != '"') ||
        text_.back() != text_.front())
      return std::nullopt;
    const char quote = text_.front();
    text_ = text_.substr(1, text_.size() - 2);
    while (!text_.empty()) {
      const char c = text_.front();
      text_.remove_prefix(1);
      if (c == quote || (c == '\\' && !escape())) return std::nullopt;
      if (c != '\\') out_ += c;
    }
    return std::move(out_);
  }

 private:
  bool escape() {
    if (text_.empty()) return false;
    const char c = text_.front();
    text_.remove_prefix(1);
    constexpr std::string_view kNames = "nrtabfv0\\'\"", kValues{"\n\r\t\a\b\f\v\0\\'\"", 11};
    if (const size_t at = kNames.find(c); at != std::string_view::npos) {
      out_ += kValues[at];
      return true;
    }
    return c == 'x' ? code(2) : !bytes_ && (c == 'u' ? code(4) : c == 'U' && code(8));
  }

  bool code(size_t digits) {
    if (text_.size() < digits) return false;
    const auto value = number_in<std::uint32_t>(text_.substr(0, digits), 16);
    text_.remove_prefix(digits);
    if (!value || *value > 0x10FFFF || (*value >= 0xD800 && *value < 0xE000)) return false;
    if (bytes_)
      out_ += static_cast<char>(*value);
    else
      append_utf8(static_cast<char32_t>(*value), out_);
    return true;
  }

  std::string_view text_;
  bool bytes_;
  std::string out_;
};

[[noreturn]] void fail(const std::string& line, const std::string& problem) {
  throw InputError(line, problem, "fetch the file again");
}

}  // namespace

WorldVocabulary::WorldVocabulary(std::string_view text, const std::string& name) {
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t length = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, length);
    text.remove_prefix(std::min(length + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const std::string where = fmt::format("{}:{}", name, number);
    const size_t first = line.find(' '), last = line.rfind(' ');
    if (last == std::string_view::npos || first == last)
      fail(where, "expected an id, a token in quotes and its length");
    const auto id = number_in<int>(line.substr(0, first));
    const auto bytes = number_in<size_t>(line.substr(last + 1));
    auto token = Literal(line.substr(first + 1, last - first - 1)).value();
    if (!id || *id < 0 || *id > kLargestId || !bytes || !token || token->empty() ||
        token->size() != *bytes)
      fail(where, "expected an id, a token in quotes and how many bytes it has");
    add(*id, std::move(*token), where);
  }
  for (int byte = 0; byte < 256; ++byte)
    if (!ids_.contains(std::string(1, static_cast<char>(byte))))
      throw InputError(name, fmt::format("has no token for the byte {}", byte),
                       "fetch the file again");
}

void WorldVocabulary::add(int id, std::string bytes, const std::string& line) {
  size_t& longest = longest_[static_cast<unsigned char>(bytes.front())];
  longest = std::max(longest, bytes.size());
  const auto [entry, is_new] = ids_.emplace(std::move(bytes), id);
  if (!is_new || !tokens_.emplace(id, &entry->first).second)
    fail(line, "holds a token or an id that is there already");
}

// Every byte is a token, so one always fits.
void WorldVocabulary::encode(std::string_view text, std::vector<EncodedToken>& tokens) const {
  for (size_t begin = 0; begin < text.size();) {
    const std::string_view rest = text.substr(begin);
    size_t length = std::min(rest.size(), longest_[static_cast<unsigned char>(rest.front())]);
    auto found = ids_.find(rest.substr(0, length));
    while (found == ids_.end()) found = ids_.find(rest.substr(0, --length));
    tokens.push_back({found->second, static_cast<std::int64_t>(begin),
                      static_cast<std::int64_t>(begin + length)});
    begin += length;
  }
}

const std::string* WorldVocabulary::token(int id) const {
  const auto found = tokens_.find(id);
  return found == tokens_.end() ? nullptr : found->second;
}

}  // namespace factflow
