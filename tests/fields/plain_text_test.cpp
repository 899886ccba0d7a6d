#include "fields/plain_text.hpp"

#include <gtest/gtest.h>

namespace factflow {
namespace {

TEST(PlainText, KnowsValidUtf8) {
  EXPECT_TRUE(is_clean_utf8(""));
  EXPECT_TRUE(is_clean_utf8("Łódź, 北京, 😀"));
  EXPECT_FALSE(is_clean_utf8("\xff"));
  EXPECT_FALSE(is_clean_utf8("a\xc3"));             // cut
  EXPECT_FALSE(is_clean_utf8("\xc0\xaf"));          // overlong
  EXPECT_FALSE(is_clean_utf8("\xed\xa0\x80"));      // surrogate
  EXPECT_FALSE(is_clean_utf8("\xf4\x90\x80\x80"));  // above U+10FFFF
  EXPECT_FALSE(is_clean_utf8(std::string_view("a\0b", 3)));
}

TEST(PlainText, TrimsWhiteSpaceAtTheEndsOnly) {
  EXPECT_EQ(trim(" \t a b \r\n"), "a b");
  EXPECT_EQ(trim("  "), "");
  EXPECT_EQ(trim(""), "");
}

TEST(PlainText, ExcerptsAreShortOneLineAndValid) {
  EXPECT_EQ(excerpt("a\nb\x1b"), "a?b?");
  EXPECT_EQ(excerpt("\xff!"), "?!");
  EXPECT_EQ(in_quotes("x"), "'x'");
  const std::string long_text = std::string(59, 'a') + "ééé";
  EXPECT_EQ(excerpt(long_text), std::string(59, 'a') + "...");
  EXPECT_EQ(excerpt(std::string(60, 'a')), std::string(60, 'a'));
  EXPECT_EQ(excerpt(std::string(58, 'a') + "éé"), std::string(58, 'a') + "é...");
}

TEST(PlainText, ParsesWholeNumbersOnly) {
  EXPECT_EQ(parse_whole_number("0"), 0);
  EXPECT_EQ(parse_whole_number("9223372036854775807"), 9223372036854775807);
  for (const char* text : {"", "-1", "+1", " 1", "1 ", "1.0", "1e3", "0x10", "9223372036854775808"})
    EXPECT_FALSE(parse_whole_number(text)) << text;
}

}  // namespace
}  // namespace factflow
