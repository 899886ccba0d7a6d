#include "analysis/plot_text.hpp"

#include <algorithm>
#include <sstream>
#include <utility>

#include <fmt/format.h>
#include <utf8proc.h>

#include "analysis/gnuplot.hpp"

namespace factflow {
namespace {

constexpr double kFont = 9;  // points, of the terminals in gnuplot.cpp

constexpr char32_t kReplacement = 0xFFFD, kVariantSelector = 0xFE0F;  // the latter: as an emoji

// The character at the beginning of the text and its bytes; U+FFFD for a byte that is none.
std::pair<char32_t, std::size_t> first_character(std::string_view text) {
  utf8proc_int32_t character = 0;
  const utf8proc_ssize_t bytes =
      utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                       static_cast<utf8proc_ssize_t>(text.size()), &character);
  if (bytes < 1) return {kReplacement, 1};
  return {static_cast<char32_t>(character), static_cast<std::size_t>(bytes)};
}

// What is drawn as one letter.
struct Letter {
  std::string_view text;
  std::size_t width = 0;
};

std::size_t width_of(char32_t character) {
  if (character < 0x20 || character == 0x7F) return 1;  // drawn as a sign of its own
  const int width = utf8proc_charwidth(static_cast<utf8proc_int32_t>(character));
  return static_cast<std::size_t>(std::max(width, 0));
}

std::vector<Letter> letters_of(std::string_view text) {
  std::vector<Letter> letters;
  utf8proc_int32_t before = 0, state = 0;
  for (std::size_t at = 0; at < text.size();) {
    const auto [character, bytes] = first_character(text.substr(at));
    const auto now = static_cast<utf8proc_int32_t>(character);
    if (letters.empty() || utf8proc_grapheme_break_stateful(before, now, &state))
      letters.push_back({text.substr(at, 0), 0});
    Letter& letter = letters.back();
    letter.text = {letter.text.data(), letter.text.size() + bytes};
    // Flags are two characters of width one.
    const bool flag = letter.width == 1 && now >= 0x1F1E6 && now <= 0x1F1FF;
    letter.width = std::max(letter.width, width_of(character));
    if (character == kVariantSelector || flag) letter.width = 2;
    before = now;
    at += bytes;
  }
  return letters;
}

std::size_t width_of(const std::vector<Letter>& letters) {
  std::size_t width = 0;
  for (const Letter& letter : letters) width += letter.width;
  return width;
}

// Of the letters in their order (or from the end), as many as fit.
std::string fitting_letters(const std::vector<Letter>& letters, std::size_t width,
                            bool from_the_end) {
  std::size_t count = 0, used = 0;
  const auto letter = [&](std::size_t i) {
    return letters[from_the_end ? letters.size() - 1 - i : i];
  };
  while (count < letters.size() && used + letter(count).width <= width)
    used += letter(count++).width;
  std::string text;
  const std::size_t first = from_the_end ? letters.size() - count : 0;
  for (std::size_t i = first; i < first + count; ++i) text += letters[i].text;
  return text;
}

// A word, or a piece of one that may stand on a line of its own.
struct TextPiece {
  std::string text;
  bool after_space = true;
};

std::vector<TextPiece> pieces_of(const std::string& text) {
  std::vector<TextPiece> pieces;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    bool begun = false, wide_before = false;
    for (const Letter& letter : letters_of(word)) {
      const bool wide = letter.width > 1;
      if (!begun || wide || wide_before) pieces.push_back({"", !begun});
      pieces.back().text += letter.text;
      begun = true;
      wide_before = wide;
    }
  }
  return pieces;
}

}  // namespace

std::vector<char32_t> characters_of(std::string_view text) {
  std::vector<char32_t> characters;
  while (!text.empty()) {
    const auto [character, bytes] = first_character(text);
    characters.push_back(character);
    text.remove_prefix(bytes);
  }
  return characters;
}

bool is_right_to_left(std::string_view text) {
  const std::vector<char32_t> characters = characters_of(text);
  return std::any_of(characters.begin(), characters.end(), [](char32_t character) {
    const auto direction =
        utf8proc_get_property(static_cast<utf8proc_int32_t>(character))->bidi_class;
    return direction == UTF8PROC_BIDI_CLASS_R || direction == UTF8PROC_BIDI_CLASS_AL;
  });
}

std::size_t count_letters(std::string_view text) {
  return width_of(letters_of(text));
}

std::string shorten(const std::string& text, std::size_t letters) {
  const std::vector<Letter> all = letters_of(text);
  if (width_of(all) <= letters) return text;
  return fitting_letters(all, letters - 1, false) + "\u2026";
}

std::string shorten_middle(const std::string& text, std::size_t letters) {
  const std::vector<Letter> all = letters_of(text);
  if (width_of(all) <= letters) return text;
  const std::size_t end = (letters - 1) / 2, begin = letters - 1 - end;
  return fitting_letters(all, begin, false) + "\u2026" + fitting_letters(all, end, true);
}

std::vector<std::string> wrap(const std::string& text, std::size_t letters) {
  std::vector<std::string> lines(1);
  std::size_t used = 0;  // of the last line
  for (const TextPiece& piece : pieces_of(text)) {
    const std::string word = shorten_middle(piece.text, letters);
    const std::size_t width = count_letters(word);
    const bool space = piece.after_space && !lines.back().empty();
    if (lines.back().empty() || used + (space ? 1 : 0) + width <= letters) {
      lines.back() += (space ? " " : "") + word;
      used += (space ? 1 : 0) + width;
    } else {
      lines.push_back(word);
      used = width;
    }
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
