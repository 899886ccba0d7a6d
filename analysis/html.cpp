#include "analysis/html.hpp"

#include <utility>

#include <fmt/format.h>

namespace factflow::html {

std::string escape(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        if ((static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7F)
          result += "\uFFFD";
        else
          result += c;
    }
  }
  return result;
}

std::string prose(std::string_view text) {
  const std::string plain = escape(text);
  std::string result;
  for (std::size_t at = 0; at < plain.size(); ++at) {
    const char next = at + 1 < plain.size() ? plain[at + 1] : '\0';
    const char before = at > 0 ? plain[at - 1] : ' ';
    if (plain[at] == '-' && next >= '0' && next <= '9' && (before == ' ' || before == '['))
      result += "\u2212";
    else if (plain[at] == ' ' && next == '%')
      result += "&nbsp;";
    else
      result += plain[at];
  }
  return result;
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string result;
  result.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    unsigned group = 0;
    for (std::size_t i = 0; i < 3; ++i)
      group = group << 8 | (at + i < bytes.size() ? static_cast<unsigned char>(bytes[at + i]) : 0U);
    for (std::size_t i = 0; i < 4; ++i)
      result += at + i <= bytes.size() ? kLetters[group >> (18 - 6 * i) & 63] : '=';
  }
  return result;
}

std::string table(const std::vector<std::string>& header,
                  const std::vector<std::vector<std::string>>& rows, std::size_t numbers_from) {
  const auto line = [&](const std::vector<std::string>& cells, const char* tag) {
    std::string text = "<tr>";
    for (std::size_t i = 0; i < cells.size(); ++i)
      text +=
          fmt::format("<{0}{1}>{2}</{0}>", tag, i >= numbers_from ? " class=\"n\"" : "", cells[i]);
    return text + "</tr>\n";
  };
  std::string text =
      "<div class=\"scroll\"><table><thead>" + line(header, "th") + "</thead><tbody>\n";
  for (const auto& row : rows) text += line(row, "td");
  return text + "</tbody></table></div>\n";
}

std::string facts(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::string text = "<dl>\n";
  for (const auto& [name, value] : pairs)
    if (!value.empty())
      text += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(value));
  return text + "</dl>\n";
}

}  // namespace factflow::html
