#include "analysis/plot_text.hpp"

#include <algorithm>
#include <sstream>

#include <fmt/format.h>

#include "analysis/gnuplot.hpp"

namespace factflow {
namespace {

constexpr double kFont = 9;  // points, of the terminals in gnuplot.cpp

bool begins_letter(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
}

// The byte at which letter `index` begins; the size if there are fewer.
std::size_t byte_of(const std::string& text, std::size_t index) {
  std::size_t seen = 0;
  for (std::size_t at = 0; at < text.size(); ++at)
    if (begins_letter(text[at]) && seen++ == index) return at;
  return text.size();
}

}  // namespace

std::size_t count_letters(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), begins_letter));
}

std::string shorten(const std::string& text, std::size_t letters) {
  if (count_letters(text) <= letters) return text;
  return text.substr(0, byte_of(text, letters - 1)) + "\u2026";
}

std::string shorten_middle(const std::string& text, std::size_t letters) {
  const std::size_t all = count_letters(text);
  if (all <= letters) return text;
  const std::size_t end = (letters - 1) / 2, begin = letters - 1 - end;
  return text.substr(0, byte_of(text, begin)) + "\u2026" + text.substr(byte_of(text, all - end));
}

std::vector<std::string> wrap(const std::string& text, std::size_t letters) {
  std::vector<std::string> lines(1);
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    word = shorten_middle(word, letters);
    if (lines.back().empty())
      lines.back() = word;
    else if (count_letters(lines.back()) + 1 + count_letters(word) <= letters)
      lines.back() += " " + word;
    else
      lines.push_back(word);
  }
  return lines;
}

std::string text_script(const std::vector<std::string>& lines, const TextBlock& place,
                        double figure_width, double figure_height) {
  std::string script;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const bool small = static_cast<double>(count_letters(lines[i])) * kLetterWidth > place.width;
    const double letter = small ? kLetterWidth * kSmallFont / kFont : kLetterWidth;
    const auto fitting = std::max<std::size_t>(3, static_cast<std::size_t>(place.width / letter));
    script += fmt::format(
        "set label {} at screen {:.4f},{:.4f} {} noenhanced{}\n",
        gnuplot_quote(shorten_middle(lines[i], fitting)), place.x / figure_width,
        (place.top - kLineHeight * (static_cast<double>(i) + 0.5)) / figure_height,
        place.centred ? "center" : "left", small ? fmt::format(" font ',{}'", kSmallFont) : "");
  }
  return script;
}

}  // namespace factflow
