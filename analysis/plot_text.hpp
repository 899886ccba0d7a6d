// Texts in figures: how wide they are, and how they are made to fit.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace factflow {

inline constexpr double kLetterWidth = 0.064;  // inches, a rather wide Latin letter of 9 points
inline constexpr double kSmallFont = 7;        // points

// The characters of a UTF-8 text; a byte that is none is U+FFFD.
std::vector<char32_t> characters_of(std::string_view text);
// Whether the text holds letters of a script that is written from right to left.
bool is_right_to_left(std::string_view text);

// In Latin letters: a Chinese character or an emoji is as wide as two, an accent of its own is as
// wide as none. What is drawn as one (an emoji of several characters, a letter with its accents)
// counts once and is never cut.
std::size_t count_letters(std::string_view text);
// At most so many letters, "..." (one letter) in place of the end or of the middle.
std::string shorten(const std::string& text, std::size_t letters);
std::string shorten_middle(const std::string& text, std::size_t letters);
// Lines of at most so many letters, broken at spaces, and beside wide characters, which have none;
// longer words are shortened in the middle.
std::vector<std::string> wrap(const std::string& text, std::size_t letters);

// "set label ..." of lines of text around or to the right of a place, the first line on top at
// `top` (inches from the figure's lower left corner). In small letters where `width` inches would
// not hold them, and shortened where even these would not fit.
struct TextBlock {
  double x = 0, top = 0, width = 0;
  bool centred = true;
};
inline constexpr double kLineHeight = 0.15;  // inches
std::string text_script(const std::vector<std::string>& lines, const TextBlock& place,
                        double figure_width, double figure_height);

}  // namespace factflow
