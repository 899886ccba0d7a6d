#include "model/tokenizer/unicode.hpp"

#include <gtest/gtest.h>

#include "model/tokenizer/aligned_text.hpp"
#include "model/tokenizer/byte_symbols.hpp"

namespace factflow {
namespace {

std::string nfc(const std::string& text) {
  const auto changes = nfc_changes(text);
  if (changes.empty()) return text;
  std::string out;
  for (const CharChange& change : changes) append_utf8(change.value, out);
  return out;
}

TEST(Unicode, Utf8IsChecked) {
  for (const char* text : {"", "a", "é", "\uFFFF", "\U0010FFFF"})
    EXPECT_TRUE(valid_utf8(text)) << text;
  for (const char* text :
       {"\x80", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff"}) {
    EXPECT_FALSE(valid_utf8(text));
  }
  EXPECT_EQ(lossy_utf8("a\xc3z\xf0\x9f"), "a\uFFFDz\uFFFD\uFFFD");
}

TEST(Unicode, CodePointsAreReadInBothDirections) {
  const std::string text = "aé東🙂";
  EXPECT_EQ(code_point_at(text, 3).value, U'東');
  EXPECT_EQ(code_point_at(text, 3).bytes, 3u);
  EXPECT_EQ(code_point_before(text, text.size()).value, U'🙂');
  EXPECT_EQ(code_point_before(text, 1).value, U'a');
}

TEST(Unicode, ClassesAreThoseOfTheLibrary) {
  for (const char32_t c : {U' ', U'\t', U'\u0085', U'\u00a0', U'\u2003', U'\u3000'})
    EXPECT_TRUE(is_whitespace(c));
  for (const char32_t c : {U'\u200b', U'\u180e', U'a'}) EXPECT_FALSE(is_whitespace(c));
  for (const char32_t c : {U'1', U'٣', U'Ⅷ', U'½', U'²'}) EXPECT_TRUE(is_numeric(c));
  for (const char32_t c : {U'!', U'$', U'+', U'^', U'«', U'‿', U'\u166d'})
    EXPECT_TRUE(is_punctuation(c));
  for (const char32_t c : {U'€', U'±', U'a', U'\u061d'}) EXPECT_FALSE(is_punctuation(c));
  for (const char32_t c : {U'a', U'_', U'1', U'\u0301', U'\u200d', U'ⓐ', U'🅐'})
    EXPECT_TRUE(is_word(c));
  for (const char32_t c : {U'²', U'-', U' ', U'🙂'}) EXPECT_FALSE(is_word(c));
}

TEST(Nfc, ComposesReordersAndExcludes) {
  EXPECT_EQ(nfc("cafe\u0301"), "café");
  EXPECT_EQ(nfc("e\u0301\u0323"), "ẹ\u0301");
  EXPECT_EQ(nfc("\u1100\u1161\u11a8"), "각");
  EXPECT_EQ(nfc("\u0958"), "\u0915\u093c");
  EXPECT_EQ(nfc("\u212b\u2126"), "ÅΩ");
  EXPECT_EQ(nfc("\u0301a"), "\u0301a");
  EXPECT_EQ(nfc("plain ASCII and é"), "plain ASCII and é");
}

TEST(AlignedText, AComposedCharacterStandsForItsFirstPart) {
  AlignedText text("ae\u0301b");
  text.rewrite(nfc_changes(text.text()));
  EXPECT_EQ(text.text(), "aéb");
  EXPECT_EQ(text.original(1, 3), (std::pair<std::int64_t, std::int64_t>{1, 2}));
  EXPECT_EQ(text.original(3, 4), (std::pair<std::int64_t, std::int64_t>{4, 5}));
}

TEST(AlignedText, PrefixesReplacementsAndBytesKeepTheirPlace) {
  AlignedText text("é xy");
  text.prepend("▁");
  EXPECT_EQ(text.original(0, 3), (std::pair<std::int64_t, std::int64_t>{0, 2}));
  text.replace({{0, 6, false}, {6, 8, true}}, "QRS");
  EXPECT_EQ(text.text(), "▁é QRS");
  EXPECT_EQ(text.original(6, 9), (std::pair<std::int64_t, std::int64_t>{4, 5}));
  const AlignedText word = text.slice(3, 5);
  EXPECT_EQ(word.text(), "é");
  EXPECT_EQ(word.begin(), 0u);
  AlignedText bytes = word;
  bytes.map_bytes(byte_symbols());
  EXPECT_EQ(bytes.text(), "Ã©");
  EXPECT_EQ(bytes.original(0, 2), (std::pair<std::int64_t, std::int64_t>{0, 2}));
}

TEST(ByteSymbols, AreGpt2sAndReversible) {
  EXPECT_EQ(byte_symbols()[' '], "Ġ");
  EXPECT_EQ(byte_symbols()['\n'], "Ċ");
  EXPECT_EQ(byte_symbols()['a'], "a");
  std::string all, written;
  for (int byte = 0; byte < 256; ++byte) {
    all += static_cast<char>(byte);
    written += byte_symbols()[static_cast<size_t>(byte)];
  }
  EXPECT_EQ(bytes_of_symbols(written), all);
  EXPECT_EQ(bytes_of_symbols("▁"), "▁");
}

}  // namespace
}  // namespace factflow
