#include "model/tokenizer/unicode.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <utf8proc.h>

namespace factflow {
namespace {

// Below U+0300 every character is its own composition and composes with nothing before it.
constexpr unsigned char kFirstLeadThatNfcTouches = 0xCC;

const std::uint8_t* bytes_of(std::string_view text, size_t position) {
  return reinterpret_cast<const std::uint8_t*>(text.data()) + position;
}

struct Decomposed {
  CharChange character;
  int combining_class = 0;
};

void decompose(char32_t c, std::vector<Decomposed>& out) {
  std::array<utf8proc_int32_t, 32> parts;
  int boundary_class = 0;
  const auto count = utf8proc_decompose_char(
      static_cast<utf8proc_int32_t>(c), parts.data(), static_cast<utf8proc_ssize_t>(parts.size()),
      static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE), &boundary_class);
  if (count < 1 || static_cast<size_t>(count) > parts.size()) {
    out.push_back(
        {{c, 0}, utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class});
    return;
  }
  for (utf8proc_ssize_t i = 0; i < count; ++i) {
    const auto part = parts[static_cast<size_t>(i)];
    out.push_back({{static_cast<char32_t>(part), i == 0 ? 0 : 1},
                   utf8proc_get_property(part)->combining_class});
  }
}

// Puts each run of combining marks into canonical order.
void reorder(std::vector<Decomposed>& characters) {
  auto run = characters.begin();
  while (run != characters.end()) {
    run = std::find_if(run, characters.end(),
                       [](const Decomposed& c) { return c.combining_class != 0; });
    const auto end = std::find_if(run, characters.end(),
                                  [](const Decomposed& c) { return c.combining_class == 0; });
    std::stable_sort(run, end, [](const Decomposed& a, const Decomposed& b) {
      return a.combining_class < b.combining_class;
    });
    run = end;
  }
}

std::optional<char32_t> compose(char32_t first, char32_t second) {
  std::array<utf8proc_int32_t, 2> pair = {static_cast<utf8proc_int32_t>(first),
                                          static_cast<utf8proc_int32_t>(second)};
  const auto length = utf8proc_normalize_utf32(
      pair.data(), 2, static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  if (length != 1) return std::nullopt;
  return static_cast<char32_t>(pair[0]);
}

// Unicode Standard, section 3.11, D117: composes each starter with the marks that nothing blocks
// from it.
std::vector<CharChange> recompose(const std::vector<Decomposed>& characters) {
  std::vector<CharChange> out;
  std::optional<size_t> starter;  // its place in `out`
  // Of the character kept last behind the starter; -1 if there is none.
  int last_class = -1;
  for (const auto& [character, combining_class] : characters) {
    if (starter && last_class < combining_class) {
      if (const auto composed = compose(out[*starter].value, character.value)) {
        out[*starter] = {*composed, out[*starter].change + character.change - 1};
        continue;
      }
    }
    if (combining_class == 0) {
      starter = out.size();
      last_class = -1;
    } else {
      last_class = combining_class;
    }
    out.push_back(character);
  }
  return out;
}

bool in(char32_t c, char32_t first, char32_t last) {
  return c >= first && c <= last;
}

// The library classifies punctuation by Unicode 8: what became punctuation since is none for it.
constexpr std::array<std::pair<char32_t, char32_t>, 32> kPunctuationSinceUnicode9 = {
    {{0x61D, 0x61D},     {0x9FD, 0x9FD},     {0xA76, 0xA76},     {0xC77, 0xC77},
     {0xC84, 0xC84},     {0x1B7D, 0x1B7E},   {0x2E43, 0x2E4F},   {0x2E52, 0x2E5D},
     {0x10EAD, 0x10EAD}, {0x10F55, 0x10F59}, {0x10F86, 0x10F89}, {0x1144B, 0x1144F},
     {0x1145A, 0x1145B}, {0x1145D, 0x1145D}, {0x11660, 0x1166C}, {0x116B9, 0x116B9},
     {0x1183B, 0x1183B}, {0x11944, 0x11946}, {0x119E2, 0x119E2}, {0x11A3F, 0x11A46},
     {0x11A9A, 0x11A9C}, {0x11A9E, 0x11AA2}, {0x11B00, 0x11B09}, {0x11C41, 0x11C45},
     {0x11C70, 0x11C71}, {0x11EF7, 0x11EF8}, {0x11F43, 0x11F4F}, {0x11FFF, 0x11FFF},
     {0x12FF1, 0x12FF2}, {0x16E97, 0x16E9A}, {0x16FE2, 0x16FE2}, {0x1E95E, 0x1E95F}}};

}  // namespace

bool valid_utf8(std::string_view text) {
  size_t position = 0;
  while (position < text.size()) {
    if (static_cast<unsigned char>(text[position]) < 0x80) {
      ++position;
      continue;
    }
    utf8proc_int32_t c = 0;
    const auto length = utf8proc_iterate(bytes_of(text, position),
                                         static_cast<utf8proc_ssize_t>(text.size() - position), &c);
    if (length < 1) return false;
    position += static_cast<size_t>(length);
  }
  return true;
}

size_t utf8_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  if (byte >= 0xF0) return 4;
  if (byte >= 0xE0) return 3;
  return byte >= 0xC0 ? 2 : 1;
}

CodePoint code_point_at(std::string_view text, size_t position) {
  const auto byte = static_cast<unsigned char>(text[position]);
  if (byte < 0x80) return {byte, 1};
  utf8proc_int32_t c = 0;
  const auto length = utf8proc_iterate(bytes_of(text, position),
                                       static_cast<utf8proc_ssize_t>(text.size() - position), &c);
  if (length < 1) return {0xFFFD, 1};
  return {static_cast<char32_t>(c), static_cast<size_t>(length)};
}

CodePoint code_point_before(std::string_view text, size_t position) {
  size_t start = position - 1;
  while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
  return code_point_at(text, start);
}

void append_utf8(char32_t code_point, std::string& out) {
  std::array<utf8proc_uint8_t, 4> bytes;
  const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code_point), bytes.data());
  out.append(reinterpret_cast<const char*>(bytes.data()), static_cast<size_t>(length));
}

std::string lossy_utf8(std::string_view bytes) {
  std::string out;
  size_t position = 0;
  while (position < bytes.size()) {
    utf8proc_int32_t c = 0;
    const auto length = utf8proc_iterate(
        bytes_of(bytes, position), static_cast<utf8proc_ssize_t>(bytes.size() - position), &c);
    append_utf8(length < 1 ? 0xFFFD : static_cast<char32_t>(c), out);
    position += length < 1 ? 1 : static_cast<size_t>(length);
  }
  return out;
}

bool is_whitespace(char32_t c) {
  return in(c, 0x09, 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         in(c, 0x2000, 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_numeric(char32_t c) {
  if (c < 0x80) return in(c, '0', '9');
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return true;
    default:
      return false;
  }
}

bool is_punctuation(char32_t c) {
  if (c < 0x80) return in(c, '!', '/') || in(c, ':', '@') || in(c, '[', '`') || in(c, '{', '~');
  if (c == 0x166D || c == 0x111C9) return true;  // no punctuation any more, but still in Unicode 8
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      return std::none_of(kPunctuationSinceUnicode9.begin(), kPunctuationSinceUnicode9.end(),
                          [&](const auto& range) { return in(c, range.first, range.second); });
    default:
      return false;
  }
}

bool is_word(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      // The joiners, and the symbols that are Other_Alphabetic: circled, squared and negative
      // letters.
      return in(c, 0x200C, 0x200D) || in(c, 0x24B6, 0x24E9) || in(c, 0x1F130, 0x1F149) ||
             in(c, 0x1F150, 0x1F169) || in(c, 0x1F170, 0x1F189);
  }
}

std::vector<CharChange> nfc_changes(std::string_view text) {
  const bool touched = std::any_of(text.begin(), text.end(), [](char byte) {
    return static_cast<unsigned char>(byte) >= kFirstLeadThatNfcTouches;
  });
  if (!touched) return {};
  std::vector<Decomposed> characters;
  characters.reserve(text.size());
  for (size_t position = 0; position < text.size();) {
    const CodePoint c = code_point_at(text, position);
    decompose(c.value, characters);
    position += c.bytes;
  }
  reorder(characters);
  return recompose(characters);
}

}  // namespace factflow
