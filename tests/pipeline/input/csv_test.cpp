#include "pipeline/input/csv.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace factflow {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<CsvRecord> read_all(std::string_view text, size_t longest = 1000) {
  CsvReader reader(text, longest);
  std::vector<CsvRecord> records;
  for (CsvRecord record; reader.next(record);) records.push_back(record);
  return records;
}

TEST(Csv, ReadsPlainAndQuotedValues) {
  const auto records =
      read_all("a,b,c\r\n\"x, y\",\"say \"\"hi\"\"\",\"two\nlines\"\n\n,,\"\"\nlast,1,2");
  ASSERT_EQ(records.size(), 4U);
  EXPECT_THAT(records[0].values, ElementsAre("a", "b", "c"));
  EXPECT_THAT(records[1].values, ElementsAre("x, y", "say \"hi\"", "two\nlines"));
  EXPECT_THAT(records[2].values, ElementsAre("", "", ""));
  EXPECT_THAT(records[3].values, ElementsAre("last", "1", "2"));
  EXPECT_EQ(records[1].line, 2);
  EXPECT_EQ(records[2].line, 5);
  EXPECT_EQ(records[3].line, 6);
}

TEST(Csv, ATrailingCommaIsAnEmptyValue) {
  EXPECT_THAT(read_all("a,\n")[0].values, ElementsAre("a", ""));
}

TEST(Csv, NothingIsNoRecord) {
  EXPECT_TRUE(read_all("").empty());
  EXPECT_TRUE(read_all("\n\r\n\n").empty());
}

TEST(Csv, GoesOnAfterBrokenRecords) {
  const auto records = read_all("a\"b,c\n\"x\"y\n\"never closed\nd,e\n");
  ASSERT_EQ(records.size(), 4U);
  EXPECT_THAT(records[0].problem, HasSubstr("a quote stands inside"));
  EXPECT_THAT(records[1].problem, HasSubstr("follows a closing quote"));
  EXPECT_THAT(records[2].problem, HasSubstr("not closed"));
  EXPECT_EQ(records[2].line, 3);
  EXPECT_EQ(records[3].problem, "");
  EXPECT_THAT(records[3].values, ElementsAre("d", "e"));
  EXPECT_EQ(records[3].line, 4);
}

TEST(Csv, BoundsTheLengthOfARecord) {
  const auto records =
      read_all("\"" + std::string(50, 'a') + "\",b\n" + std::string(50, 'c') + "\nshort,x\n", 20);
  ASSERT_EQ(records.size(), 3U);
  EXPECT_THAT(records[0].problem, HasSubstr("not closed"));
  EXPECT_THAT(records[1].problem, HasSubstr("too long"));
  EXPECT_EQ(records[2].problem, "");
}

}  // namespace
}  // namespace factflow
