#include "base/files.hpp"

#include <cstdlib>
#include <fstream>
#include <functional>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/error.hpp"

namespace factflow {
namespace {

namespace fs = std::filesystem;

class Files : public testing::Test {
 protected:
  Files() {
    std::string name = (fs::temp_directory_path() / "factflow_base.XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw RunError("cannot create " + name);
    folder_ = name;
  }
  ~Files() override { remove_tree(folder_); }

  fs::path write(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }
  size_t entries() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
};

std::string input_error(const std::function<void()>& action) {
  try {
    action();
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST_F(Files, ReadsWholeFilesAsBytes) {
  const std::string bytes("a\0b\r\n\xff", 6);
  EXPECT_EQ(read_file(write("some", bytes)), bytes);
  EXPECT_EQ(read_file(write("empty", "")), "");
}

TEST_F(Files, RemovesTreesButNotWhatLinksPointTo) {
  const fs::path kept = write("kept", "here");
  fs::create_directories(folder_ / "tree/a/b");
  write("tree/a/file", "x");
  fs::create_symlink(kept, folder_ / "tree/a/link");
  fs::create_directory_symlink(folder_, folder_ / "tree/around");
  remove_tree(folder_ / "tree");
  EXPECT_FALSE(fs::exists(folder_ / "tree"));
  EXPECT_EQ(read_file(kept), "here");
  remove_tree(kept);
  remove_tree(folder_ / "nothing");
  EXPECT_EQ(entries(), 0u);
}

TEST_F(Files, SaysWhatCannotBeRemoved) {
  EXPECT_THROW(remove_tree("/proc/self/status"), RunError);
}

TEST_F(Files, RefusesWhatIsTooLargeMissingOrNoFile) {
  const fs::path file = write("large", std::string(2048, 'x'));
  EXPECT_EQ(read_file(file, 2048).size(), 2048u);
  EXPECT_EQ(input_error([&] { read_file(file, 2047); }),
            file.string() + ": is 2.0 KiB large, expected at most 2.0 KiB");
  EXPECT_THAT(input_error([&] { read_file(folder_ / "none"); }),
              testing::HasSubstr("none: cannot be opened: No such file"));
  EXPECT_EQ(input_error([] { read_file("none/of"); }),
            "none/of: cannot be opened: No such file or directory (relative to " +
                fs::current_path().string() + ")");
  EXPECT_EQ(input_error([&] { read_file(folder_); }),
            folder_.string() + ": is a directory, expected a file");
  EXPECT_EQ(input_error([] { read_file("/dev/zero"); }), "/dev/zero: is not a regular file");
}

TEST_F(Files, MapsOutliveTheirNames) {
  const fs::path path = write("mapped", "0123456789");
  MappedFile map(path);
  fs::remove(path);
  MappedFile moved(std::move(map));
  EXPECT_EQ(moved.text(), "0123456789");
  EXPECT_EQ(moved.bytes().size(), 10u);
  EXPECT_EQ(moved.path(), path);
  moved = MappedFile(write("other", "abc"));
  EXPECT_EQ(moved.text(), "abc");
}

TEST_F(Files, EmptyFilesMapToNothing) {
  const MappedFile map(write("empty", ""));
  EXPECT_TRUE(map.bytes().empty());
  EXPECT_THAT(input_error([&] { MappedFile none(folder_ / "none"); }),
              testing::HasSubstr("cannot be opened"));
}

TEST_F(Files, PublishingReplacesAndLeavesNothingBehind) {
  const fs::path path = write("results", "old");
  publish_file(path, "new bytes");
  EXPECT_EQ(read_file(path), "new bytes");
  publish_file(folder_ / "second", "");
  EXPECT_EQ(read_file(folder_ / "second"), "");
  EXPECT_EQ(entries(), 2u);
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0644u);
}

TEST_F(Files, AReaderSeesTheOldOrTheNew) {
  const fs::path path = folder_ / "file";
  const std::string old_bytes(300000, 'o'), new_bytes(200000, 'n');
  publish_file(path, old_bytes);
  std::thread writer([&] {
    for (int i = 0; i < 40; ++i) publish_file(path, i % 2 == 0 ? new_bytes : old_bytes);
  });
  for (int i = 0; i < 200; ++i) {
    const std::string seen = read_file(path);
    EXPECT_TRUE(seen == old_bytes || seen == new_bytes);
  }
  writer.join();
}

TEST_F(Files, FailedPublishingKeepsTheOld) {
  fs::create_directory(folder_ / "taken");
  try {
    publish_file(folder_ / "taken", "bytes");  // a directory is not replaced by a file
    FAIL();
  } catch (const RunError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("taken: cannot publish"));
  }
  EXPECT_THROW(publish_file(folder_ / "none" / "file", "bytes"), RunError);
  EXPECT_TRUE(fs::is_directory(folder_ / "taken"));
  EXPECT_EQ(entries(), 1u);  // no temporary file is left
}

}  // namespace
}  // namespace factflow
