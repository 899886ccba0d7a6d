#include "base/error.hpp"

#include <gtest/gtest.h>

namespace factflow {
namespace {

TEST(Errors, InputErrorSaysWhereWhatAndWhatToDo) {
  const InputError error("demo.yaml: key sweep.windows", "expected a list, found 3", "write [3]");
  EXPECT_STREQ(error.what(), "demo.yaml: key sweep.windows: expected a list, found 3; write [3]");
  EXPECT_EQ(error.exit_code(), 2);
  EXPECT_EQ(error.where(), "demo.yaml: key sweep.windows");
  EXPECT_EQ(error.problem(), "expected a list, found 3");
  EXPECT_EQ(error.remedy(), "write [3]");
}

TEST(Errors, PartsMayBeLeftOut) {
  EXPECT_STREQ(InputError("a.txt", "is empty").what(), "a.txt: is empty");
  EXPECT_STREQ(InputError("", "no command").what(), "no command");
}

TEST(Errors, AlwaysOneLine) {
  EXPECT_STREQ(InputError("a\nb", "c\r\nd", "e\nf").what(), "a b: c  d; e f");
}

TEST(Errors, RunErrorExitsWithOne) {
  const RunError error("disk full");
  EXPECT_EQ(error.exit_code(), 1);
  EXPECT_STREQ(error.what(), "disk full");
}

}  // namespace
}  // namespace factflow
