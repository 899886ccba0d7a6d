#include "analysis/fonts.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <iterator>

#include <fmt/format.h>
#include <utf8proc.h>

#include "analysis/plot_text.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr const char* kSquare = "\u25A1";
constexpr std::size_t kShownCharacters = 6;
constexpr std::chrono::seconds kPatience{20};
constexpr std::size_t kMostKept = std::size_t{1} << 20;  // of a child's output

// Whether a font would draw nothing for it.
bool is_invisible(char32_t character) {
  const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(character));
  const bool selects_a_variant = (character >= 0xFE00 && character <= 0xFE0F) ||
                                 (character >= 0xE0100 && character <= 0xE01EF);
  return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF || selects_a_variant;
}

// "4e00-9fa5" or "a0"; first > last if it is neither.
std::pair<char32_t, char32_t> range_of(std::string_view word) {
  const std::size_t dash = word.find('-');
  const auto number = [](std::string_view digits, std::uint32_t& value) {
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    return error == std::errc() && end == digits.data() + digits.size();
  };
  std::uint32_t first = 1, last = 0;
  if (!number(word.substr(0, dash), first)) return {1, 0};
  if (dash == std::string_view::npos) return {first, first};
  if (!number(word.substr(dash + 1), last)) return {1, 0};
  return {first, last};
}

}  // namespace

Environment font_environment() {
  return clean_environment(
      {"FONTCONFIG_FILE", "FONTCONFIG_PATH", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"});
}

FontCoverage::FontCoverage(std::string_view listed) : everything_(false) {
  std::vector<std::pair<char32_t, char32_t>> all;
  while (!listed.empty()) {
    const std::size_t end = std::min(listed.find_first_of(" \n"), listed.size());
    if (const auto range = range_of(listed.substr(0, end)); range.first <= range.second)
      all.push_back(range);
    listed.remove_prefix(std::min(end + 1, listed.size()));
  }
  std::sort(all.begin(), all.end());
  for (const auto& [first, last] : all) {
    if (!ranges_.empty() && first <= ranges_.back().second + 1)
      ranges_.back().second = std::max(ranges_.back().second, last);
    else
      ranges_.emplace_back(first, last);
  }
}

FontCoverage FontCoverage::installed() {
  ChildProgram program;
  // Pango draws no bitmap fonts. The regular ones say enough, and thousands of others too much.
  program.words = {"fc-list", "--format", "%{charset}\n", ":scalable=true:slant=0:weight=80"};
  program.environment = font_environment();
  program.patience = kPatience;
  const ChildOutput listed = run_child(program);
  const bool whole =
      listed.code == 0 && listed.out.ends_with('\n') && listed.out.size() < kMostKept;
  const FontCoverage fonts(whole ? listed.out : "");
  return fonts.ranges_.empty() ? FontCoverage() : fonts;
}

bool FontCoverage::draws(char32_t character) const {
  if (everything_ || is_invisible(character)) return true;
  const auto after =
      std::upper_bound(ranges_.begin(), ranges_.end(), character,
                       [](char32_t wanted, const auto& range) { return wanted < range.first; });
  return after != ranges_.begin() && character <= std::prev(after)->second;
}

bool FontCoverage::draws(std::string_view text) const {
  const std::vector<char32_t> characters = characters_of(text);
  return std::all_of(characters.begin(), characters.end(),
                     [&](char32_t character) { return draws(character); });
}

std::string drawable(std::string_view text, const FontCoverage& fonts,
                     std::set<char32_t>& missing) {
  std::string result;
  for (const char32_t character : characters_of(text)) {
    if (fonts.draws(character)) {
      utf8proc_uint8_t bytes[4];
      const utf8proc_ssize_t size =
          utf8proc_encode_char(static_cast<utf8proc_int32_t>(character), bytes);
      result.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
    } else {
      missing.insert(character);
      result += kSquare;
    }
  }
  return result;
}

std::string missing_fonts(const std::set<char32_t>& missing) {
  if (missing.empty()) return "";
  std::vector<std::string> shown;
  for (const char32_t character : missing) {
    if (shown.size() == kShownCharacters) break;
    shown.push_back(fmt::format("U+{:04X}", static_cast<std::uint32_t>(character)));
  }
  if (missing.size() > shown.size())
    shown.push_back(fmt::format("{} more", missing.size() - shown.size()));
  return fmt::format(
      "No installed font has {} of the prompts and tokens in the figures ({}): tokens with them "
      "are named by their ids, and elsewhere a square stands for each. Install fonts that have "
      "them (Debian: fonts-wqy-microhei, fonts-noto-core, fonts-noto-color-emoji) and analyse "
      "again.",
      counted(missing.size(), "character"), join(shown));
}

}  // namespace factflow
