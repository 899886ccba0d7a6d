#include "model/tokenizer/regex.hpp"

#include <stdexcept>

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/tokenizer/pre_tokenizer.hpp"

namespace factflow {
namespace {

// What `pattern` matches in `text`, between bars.
std::string matches(const std::string& pattern, const std::string& text) {
  std::vector<std::string> found;
  for (const Match& part : Regex::oniguruma(pattern, "test").find(text))
    if (part.matched) found.push_back(text.substr(part.begin, part.end - part.begin));
  return join(found, "|");
}

TEST(Regex, PartsCoverTheText) {
  const Regex regex = Regex::oniguruma(R"(\s+)", "test");
  EXPECT_EQ(regex.find("a  b "),
            (std::vector<Match>{{0, 1, false}, {1, 3, true}, {3, 4, false}, {4, 5, true}}));
  EXPECT_EQ(regex.find(""), (std::vector<Match>{{0, 0, false}}));
  EXPECT_EQ(regex.find("ab"), (std::vector<Match>{{0, 2, false}}));
}

TEST(Regex, EmptyMatchesAreFoundOnceAndNeverBehindAMatch) {
  const Regex regex = Regex::oniguruma("x*", "test");
  EXPECT_EQ(
      regex.find("axé"),
      (std::vector<Match>{{0, 0, true}, {0, 1, false}, {1, 2, true}, {2, 4, false}, {4, 4, true}}));
}

TEST(Regex, LiteralsAreNoPatterns) {
  EXPECT_EQ(Regex::literal("a.(", "test").find("xa.(").back(), (Match{1, 4, true}));
  EXPECT_EQ(Regex::literal("a.(", "test").find("xabc"), (std::vector<Match>{{0, 4, false}}));
}

TEST(Regex, RubysMeaningsHold) {
  EXPECT_EQ(matches(R"(\h+)", "xyz0aFg"), "0aF");            // hexadecimal digits, not blanks
  EXPECT_EQ(matches(R"(\s)", "a\u180eb\u00a0c"), "\u00a0");  // U+180E is no space
  EXPECT_EQ(matches("(?m).+", "a\nb"), "a\nb");              // m: the dot matches newlines
  EXPECT_EQ(matches("^.", "ab\ncd"), "a|c");                 // ^ is the start of a line
  EXPECT_EQ(matches("a(?i)b|c", "aB aC bC"), "aB|aC");       // (?i) takes the alternatives in
  EXPECT_EQ(matches("a{2}?", "aaa"), "aa|");                 // {n}? is optional, not lazy
  EXPECT_EQ(matches("l{1,2}+", "lllll"), "lllll");           // {n,m}+ repeats, is not possessive
  EXPECT_EQ(matches("a{,2}b", "aaab"), "aab");
  EXPECT_EQ(matches(R"(\w+)", "a_\u0301\u00b2 \u2460"), "a_\u0301\u00b2");
  EXPECT_EQ(matches(R"([\w]+)", "a\u00b2b"),
            "a|b");  // in a class the six Latin-1 numbers are left out
  EXPECT_EQ(matches(R"(\u00e9|\x41)", "éAB"), "é|A");
  EXPECT_EQ(matches(" ?[^(\\s|[.,!?…])]+", "Hello, (dear) world…"),
            "Hello|dear| world");  // a class inside a class
  EXPECT_EQ(matches("[a[b-]-d]+", "ab-cd"), "ab-|d");
  EXPECT_EQ(matches(R"(\p{Han}+)", "東京タワー"), "東京");
  EXPECT_EQ(matches(R"([[:digit:]\-x-]+)", "1-x2a"), "1-x2");
}

TEST(Regex, WhatHasNoCounterpartIsNamed) {
  for (const char* pattern :
       {"[a&&b]",  "[a[^b]]", "[a[]]",   "[[:punct:]]", R"(\R)",  R"(\X)",    R"(\K)",
        R"(\G)",   R"(\y)",   "(?~a)",   "(?x) a",      R"(\pL)", R"(\Qa\E)", R"(\xff)",
        R"(\u12)", R"(\12)",  "\\",      "(",           ")",      "[a",       "(?#",
        "{1,2}",   R"(\p{L)", R"([\W])", R"([\H])"}) {
    EXPECT_THROW(pcre2_from_oniguruma(pattern), std::invalid_argument) << pattern;
  }
}

TEST(Regex, EndlessBacktrackingIsAnError) {
  const Regex regex = Regex::oniguruma("(a+)+$", "test");
  EXPECT_THROW(regex.find(std::string(100, 'a') + "b"), InputError);
}

TEST(SplitParts, EveryBehavior) {
  // "the-final--countdown", split at "-".
  const std::vector<Match> matches = {{0, 3, false}, {3, 4, true},   {4, 9, false},
                                      {9, 10, true}, {10, 11, true}, {11, 20, false}};
  const auto parts = [&](SplitBehavior behavior) {
    std::vector<std::pair<size_t, size_t>> result;
    for (const Match& part : split_parts(matches, behavior))
      result.emplace_back(part.begin, part.end);
    return result;
  };
  using Parts = std::vector<std::pair<size_t, size_t>>;
  EXPECT_EQ(parts(SplitBehavior::kRemoved), (Parts{{0, 3}, {4, 9}, {11, 20}}));
  EXPECT_EQ(parts(SplitBehavior::kIsolated),
            (Parts{{0, 3}, {3, 4}, {4, 9}, {9, 10}, {10, 11}, {11, 20}}));
  EXPECT_EQ(parts(SplitBehavior::kMergedWithPrevious),
            (Parts{{0, 4}, {4, 10}, {10, 11}, {11, 20}}));
  EXPECT_EQ(parts(SplitBehavior::kMergedWithNext), (Parts{{0, 3}, {3, 9}, {9, 10}, {10, 20}}));
  EXPECT_EQ(parts(SplitBehavior::kContiguous), (Parts{{0, 3}, {3, 4}, {4, 9}, {9, 11}, {11, 20}}));
}

}  // namespace
}  // namespace factflow
