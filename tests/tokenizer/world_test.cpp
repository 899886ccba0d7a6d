// RWKV's own tokenizer, on a vocabulary made here: every byte, and a few longer tokens.
#include <filesystem>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "tests/expect_input_error.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

constexpr const char* kFile = "rwkv_vocab_v20230424.txt";

// Byte b has the id b + 1; characters below 128 are written as text, the others as bytes.
std::string bytes() {
  std::string lines;
  for (int b = 0; b < 256; ++b)
    lines += fmt::format("{} {}'\\x{:02x}' 1\n", b + 1, b < 128 ? "" : "b", b);
  return lines;
}

std::string vocabulary() {
  return bytes() + "257 'ab' 2\n258 'abcd' 4\n259 \"'s\" 2\n260 ' \\n' 2\n261 '\\xe9' 2\n" +
         "262 b'\\xe9\\x00' 2\n300 '\\u65e5\\U0001f642' 7\n";
}

Tokenizer load(const std::string& text) {
  const TemporaryDirectory directory;
  directory.write(kFile, text);
  return Tokenizer::load(directory.path());
}

TEST(World, TheLongestTokenThatFitsIsTaken) {
  const Tokenizer tokenizer = load(vocabulary());
  // "abc" is no token: the longest is "ab", though "abcd" begins so too.
  EXPECT_THAT(tokenizer.encode("abcabcd").ids, ElementsAre(257, 'c' + 1, 258));
  EXPECT_THAT(tokenizer.encode("a's \n").ids, ElementsAre('a' + 1, 259, 260));
  EXPECT_TRUE(tokenizer.encode("").ids.empty());
}

// A character of which no token is known is cut into its bytes, with offsets in bytes.
TEST(World, TokensAreBytes) {
  const Tokenizer tokenizer = load(vocabulary());
  EXPECT_THAT(tokenizer.encode("\u00e9").ids, ElementsAre(261));
  EXPECT_THAT(tokenizer.encode("\u65e5\U0001f642").ids, ElementsAre(300));
  const Encoding cut = tokenizer.encode("x\u65e5");
  EXPECT_THAT(cut.ids, ElementsAre('x' + 1, 0xe6 + 1, 0x97 + 1, 0xa5 + 1));
  EXPECT_THAT(cut.offsets, ElementsAre(Pair(0, 1), Pair(1, 2), Pair(2, 3), Pair(3, 4)));
}

TEST(World, SaysWhatItIs) {
  const Tokenizer tokenizer = load(vocabulary());
  EXPECT_EQ(tokenizer.vocabulary_size(), 301);
  EXPECT_EQ(tokenizer.token_text(258), "abcd");
  EXPECT_EQ(tokenizer.token_text(0xe6 + 1), "\ufffd");
  EXPECT_FALSE(tokenizer.has_token(0));
  EXPECT_FALSE(tokenizer.has_token(299));
  EXPECT_THAT(tokenizer.description(), HasSubstr("RWKV World, 301 tokens"));
}

TEST(World, BrokenLinesAreNamed) {
  const auto error = [](const std::string& line) {
    return input_error_of([&] { load(bytes() + line); });
  };
  for (const char* line : {"257 'ab' 3", "257 ab 2", "257 'ab'", "-1 'ab' 2", "99999999999 'ab' 2",
                           "257 'a\\q' 3", "257 '\\x4' 1", "257 b'\\u0041' 1", "257 'a'b' 3",
                           "257 '' 0", "257 '\\ud800' 3", "x 'ab' 2", "257 'ab\\' 3"})
    EXPECT_THAT(error(line), HasSubstr(":257: expected an id, a token")) << line;
  EXPECT_THAT(error("257 'a' 1"), HasSubstr(":257: holds a token or an id that is there already"));
  EXPECT_THAT(error("7 'ab' 2"), HasSubstr("there already"));
  EXPECT_THAT(input_error_of([] { load("1 'a' 1\n"); }), HasSubstr("has no token for the byte 0"));
}

}  // namespace
}  // namespace factflow
