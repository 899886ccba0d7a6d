#include "base/paths.hpp"

#include <cstdlib>
#include <filesystem>

#include <gtest/gtest.h>

#include "tests/temporary_directory.hpp"

namespace factflow {
namespace {

namespace fs = std::filesystem;

// The variable as it was, whatever a test does.
class KeptVariable {
 public:
  explicit KeptVariable(const char* name) : name_(name) {
    if (const char* value = std::getenv(name)) value_ = value;
  }
  ~KeptVariable() {
    if (value_.empty())
      ::unsetenv(name_);
    else
      ::setenv(name_, value_.c_str(), 1);
  }

 private:
  const char* name_;
  std::string value_;
};

TEST(Paths, TheTildeIsTheHomeDirectory) {
  const KeptVariable home("HOME");
  ::setenv("HOME", "/home/me", 1);
  EXPECT_EQ(with_home("~"), "/home/me");
  EXPECT_EQ(with_home("~/a/b"), "/home/me/a/b");
  EXPECT_EQ(with_home("~root/a"), "/root/a");
  EXPECT_EQ(with_home("~nobody-of-this-name/a"), "~nobody-of-this-name/a");
  EXPECT_EQ(with_home("a/~/b"), "a/~/b");
  EXPECT_EQ(with_home("./~"), "./~");
  ::unsetenv("HOME");
  EXPECT_TRUE(with_home("~/a").is_absolute());
}

TEST(Paths, VariablesExpandAsInPython) {
  const KeptVariable home("HOME"), value("FACTFLOW_TEST_VALUE"), unset("FACTFLOW_TEST_UNSET");
  ::setenv("HOME", "/home/me", 1);
  ::setenv("FACTFLOW_TEST_VALUE", "a $HOME", 1);
  ::unsetenv("FACTFLOW_TEST_UNSET");
  EXPECT_EQ(with_variables("$FACTFLOW_TEST_VALUE/${FACTFLOW_TEST_VALUE}"), "a $HOME/a $HOME");
  EXPECT_EQ(with_variables("$FACTFLOW_TEST_VALUES ${FACTFLOW_TEST_UNSET} $ $$HOME ${} ${x"),
            "$FACTFLOW_TEST_VALUES ${FACTFLOW_TEST_UNSET} $ $/home/me ${} ${x");
  EXPECT_EQ(with_variables("~"), "~");
}

TEST(Paths, AreRelativeToTheFolderTheyStandIn) {
  const KeptVariable home("HOME");
  ::setenv("HOME", "/home/me", 1);
  EXPECT_EQ(path_from("/w/configs", "../demo/facts.jsonl"), "/w/demo/facts.jsonl");
  EXPECT_EQ(path_from("/w/configs", "./models/gpt2/"), "/w/configs/models/gpt2");
  EXPECT_EQ(path_from("/w/configs", "/abs/./x"), "/abs/x");
  EXPECT_EQ(path_from("/w/configs", "~/x"), "/home/me/x");
  EXPECT_EQ(path_from("/w", "/"), "/");
  EXPECT_EQ(path_from(".", "x"), fs::current_path() / "x");
  EXPECT_EQ(path_from_here("a/../x"), fs::current_path() / "x");
}

TEST(Paths, ALinkIsFollowedBeforeItsParent) {
  const TemporaryDirectory folder;
  folder.write("real/deep/file", "");
  folder.write("real/facts", "right");
  folder.write("facts", "wrong");
  fs::create_directory_symlink(folder / "real/deep", folder / "link");
  EXPECT_EQ(read_file(path_from(folder / "link", "../facts")), "right");
  EXPECT_EQ(read_file(path_from(folder / "real/deep", "../../facts")), "wrong");
}

TEST(Paths, MessagesSayRelativeToWhat) {
  EXPECT_EQ(relative_to_what("/a"), "");
  EXPECT_EQ(relative_to_what("a"), " (relative to " + fs::current_path().string() + ")");
}

}  // namespace
}  // namespace factflow
