#include "base/text.hpp"

#include <limits>

#include <gtest/gtest.h>

namespace factflow {
namespace {

const std::vector<std::string> kKnown = {"windows", "edges", "precision"};

TEST(Text, NearestFindsTyposOnly) {
  EXPECT_EQ(nearest("windos", kKnown), "windows");
  EXPECT_EQ(nearest("edegs", kKnown), "edges");
  EXPECT_EQ(nearest("windows", kKnown), "windows");
  EXPECT_EQ(nearest("temperature", kKnown), "");
  EXPECT_EQ(nearest("anything", {}), "");
}

TEST(Text, UnknownWordSuggestsOrLists) {
  EXPECT_EQ(unknown_word("key", "windos", kKnown), "unknown key 'windos', did you mean 'windows'?");
  EXPECT_EQ(unknown_word("key", "temperature", kKnown),
            "unknown key 'temperature', expected one of: windows, edges, precision");
}

TEST(Text, QuotedTextStaysOnOneLine) {
  EXPECT_EQ(in_quotes("plain"), "'plain'");
  EXPECT_EQ(in_quotes("a\nb\tc\x7f"), "'a?b?c?'");
  EXPECT_EQ(in_quotes(std::string(120, 'x')), "'" + std::string(120, 'x') + "'");
  EXPECT_EQ(in_quotes(std::string(121, 'x')), "'" + std::string(120, 'x') + "...'");
}

TEST(Text, QuotedTextIsNeverCutInsideACharacter) {
  const std::string text = std::string(119, 'x') + "\xe2\x82\xac" +
                           std::string(10, 'y');  // a three-byte character at 119
  EXPECT_EQ(in_quotes(text), "'" + std::string(119, 'x') + "...'");
  EXPECT_EQ(in_quotes(std::string(300, '\x80')), "'...'");  // no character ever begins
}

TEST(Text, Join) {
  EXPECT_EQ(join({"a", "b", "c"}), "a, b, c");
  EXPECT_EQ(join({"a", "b"}, " -> "), "a -> b");
  EXPECT_EQ(join({}), "");
}

TEST(Text, Bytes) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(1.4 * (1 << 30)), "1.4 GiB");
  EXPECT_EQ(format_bytes(1e18), "888.2 PiB");
}

TEST(Text, Durations) {
  EXPECT_EQ(format_duration(0.85), "850 ms");
  EXPECT_EQ(format_duration(12.34), "12.3 s");
  EXPECT_EQ(format_duration(250), "4 min 10 s");
  EXPECT_EQ(format_duration(3 * 3600 + 12 * 60 + 5), "3 h 12 min");
  EXPECT_EQ(format_duration(std::numeric_limits<double>::quiet_NaN()), "unknown");
  EXPECT_EQ(format_duration(std::numeric_limits<double>::infinity()), "unknown");
}

TEST(Text, CountedThings) {
  EXPECT_EQ(counted(0, "prompt"), "0 prompts");
  EXPECT_EQ(counted(1, "prompt"), "1 prompt");
  EXPECT_EQ(counted(2204, "prompt"), "2,204 prompts");
  EXPECT_EQ(counted(1, "failure is", "failures are"), "1 failure is");
  EXPECT_EQ(counted(3, "failure is", "failures are"), "3 failures are");
}

TEST(Text, AZeroHasNoSign) {
  EXPECT_EQ(fixed(-0.04, 1), "0.0");
  EXPECT_EQ(fixed(-0.0, 0), "0");
  EXPECT_EQ(fixed(-0.06, 1), "-0.1");
  EXPECT_EQ(fixed(12.34, 1), "12.3");
  EXPECT_EQ(fixed(std::numeric_limits<double>::quiet_NaN(), 1), "nan");
  EXPECT_EQ(format_count(-0.0), "0");
}

TEST(Text, Counts) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(150528), "150,528");
  EXPECT_EQ(format_count(-1234567), "-1,234,567");
  EXPECT_EQ(format_count(-123), "-123");
  EXPECT_EQ(format_count(1.2e12), "1.2e+12");
  EXPECT_EQ(format_count(2.5), "2.5");
}

}  // namespace
}  // namespace factflow
