// Which characters the fonts of this machine can draw. The terminals of gnuplot find the font of a
// character by themselves (Pango asks fontconfig, script by script); a character that no font has
// they draw as a box, or worse.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/child_process.hpp"

namespace factflow {

// Of programs that draw: where fontconfig finds its fonts, and nothing else of the user's.
Environment font_environment();

class FontCoverage {
 public:
  // Every character: for figures that are drawn nowhere.
  FontCoverage() = default;
  // `listed`: lines of `fc-list --format '%{charset}\n'`, ranges of hexadecimal code points ("20-7e
  // a0").
  explicit FontCoverage(std::string_view listed);
  // Of the fonts that fontconfig knows; every character where it cannot be asked (no fc-list).
  static FontCoverage installed();

  // Also true of characters that are not drawn at all, such as joiners and marks of direction.
  bool draws(char32_t character) const;
  bool draws(std::string_view text) const;

 private:
  bool everything_ = true;
  std::vector<std::pair<char32_t, char32_t>> ranges_;  // first .. last, ascending, apart
};

// The text with a white square in place of each character that cannot be drawn, which is added to
// `missing`.
std::string drawable(std::string_view text, const FontCoverage& fonts, std::set<char32_t>& missing);

// What to do about missing characters, in a sentence; "" if there are none.
std::string missing_fonts(const std::set<char32_t>& missing);

}  // namespace factflow
