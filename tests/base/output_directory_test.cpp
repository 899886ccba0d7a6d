#include "base/output_directory.hpp"

#include <fstream>

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.hpp"
#include "base/files.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string refusal(const std::filesystem::path& path) {
  try {
    make_output_directory(system_files(), path);
  } catch (const InputError& error) {
    return error.what();
  }
  return "made";
}

TEST(OutputDirectory, IsMadeWithItsParentsOnce) {
  const TemporaryDirectory scratch;
  EXPECT_TRUE(make_output_directory(system_files(), scratch / "a" / "b" / "c"));
  EXPECT_FALSE(make_output_directory(system_files(), scratch / "a" / "b" / "c"));
  EXPECT_TRUE(make_output_directory(system_files(), scratch.path().string() + "/d/e/"));
  EXPECT_TRUE(std::filesystem::is_directory(scratch / "d" / "e"));
}

// Up to e4b056d the first of them was tried for ever.
TEST(OutputDirectory, APlaceWhereThereCanBeNoneIsSaidInOneLine) {
  const TemporaryDirectory scratch;
  const std::string file = scratch.write("file", "");
  std::filesystem::create_symlink("/nowhere/at/all", scratch / "dangling");
  std::filesystem::create_symlink("circle", scratch / "circle");
  const std::vector<std::pair<std::filesystem::path, std::string>> cases = {
      {"/proc/x", "no directory can be made here"},
      {"/proc/x/y/z", "no directory can be made here"},
      {file, "is a file, not a directory"},
      {"/dev/null", "is a file, not a directory"},
      {file + "/run", "a part of this path is a file"},
      {file + "/run/deep", "a part of this path is a file"},
      {scratch / "dangling", "is a link to /nowhere/at/all, which does not exist"},
      {scratch / "dangling" / "run", "no directory can be made here"},
      {scratch / "circle", "Too many levels of symbolic links"},
      {scratch / std::string(300, 'n'), "File name too long"},
      {scratch / std::string(300, 'n') / "run", "File name too long"},
      {"", "no directory can be made here"},
  };
  for (const auto& [path, words] : cases) {
    const std::string said = refusal(path);
    EXPECT_THAT(said, HasSubstr(path.string() + (path.empty() ? "" : ": "))) << path;
    EXPECT_THAT(said, HasSubstr(words)) << path;
    EXPECT_THAT(said, HasSubstr("--out")) << path;
  }
}

TEST(OutputDirectory, OneThatMayNotBeWrittenIsRefused) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write anywhere";
  const TemporaryDirectory scratch;
  std::filesystem::create_directory(scratch / "locked");
  ::chmod((scratch / "locked").c_str(), 0555);
  EXPECT_THAT(refusal(scratch / "locked" / "run"), HasSubstr("Permission denied"));
  EXPECT_THAT(refusal(scratch / "locked"), HasSubstr("Permission denied"));
}

TEST(OutputDirectory, NamesOfNothingAreNone) {
  const TemporaryDirectory scratch;
  EXPECT_THAT(names_in_output(system_files(), scratch / "none"), ElementsAre());
  scratch.write("some/b", "");
  scratch.write("some/a", "");
  EXPECT_THAT(names_in_output(system_files(), scratch / "some"), ElementsAre("a", "b"));
  EXPECT_THROW(names_in_output(system_files(), scratch / "some" / "a"), InputError);
}

TEST(AnalysisFiles, RemovesWhatItListsAndNothingElse) {
  const TemporaryDirectory scratch, workshop;
  for (const char* name : {"report.html", "tables/a.csv", "tables/mine.csv", "figures/b.svg"})
    scratch.write(name, "");
  AnalysisFiles(system_files(), scratch.path())
      .add({"report.html", "tables/a.csv"}, workshop.path());
  AnalysisFiles files(system_files(), scratch.path());
  EXPECT_TRUE(files.known());
  files.add({"figures/b.svg", "figures/never-drawn.svg"}, workshop.path());
  files.remove();
  EXPECT_THAT(names_in_output(system_files(), scratch.path()), ElementsAre("tables"));
  EXPECT_THAT(names_in_output(system_files(), scratch / "tables"), ElementsAre("mine.csv"));
}

TEST(AnalysisFiles, AReportOfAnEarlierVersionSaysWhatBelongsToIt) {
  const TemporaryDirectory scratch;
  scratch.write("report.html",
                "<title>demo \u2013 factflow</title><a href=\"tables/a.csv\">a</a> <a "
                "href=\"figures/b.svg\">b</a> <a href=\"#top\">c</a> <a "
                "href=\"figures/../../outside\">d</a>");
  for (const char* name : {"tables/a.csv", "figures/b.svg", "figures/mine.svg"})
    scratch.write(name, "");
  AnalysisFiles files(system_files(), scratch.path());
  EXPECT_TRUE(files.known());
  files.remove();
  EXPECT_THAT(names_in_output(system_files(), scratch.path()), ElementsAre("figures"));
  EXPECT_THAT(names_in_output(system_files(), scratch / "figures"), ElementsAre("mine.svg"));
}

TEST(AnalysisFiles, AnotherReportIsNotOurs) {
  const TemporaryDirectory scratch;
  scratch.write("report.html", "<title>Quarterly</title><a href=\"tables/a.csv\">a</a>");
  scratch.write("tables/a.csv", "");
  AnalysisFiles files(system_files(), scratch.path());
  EXPECT_FALSE(files.known());
  files.remove();
  EXPECT_TRUE(std::filesystem::exists(scratch / "tables" / "a.csv"));
  EXPECT_TRUE(std::filesystem::exists(scratch / "report.html"));
}

// A list is a file that anybody may have written into.
TEST(AnalysisFiles, NothingOutsideTheDirectoryIsRemoved) {
  const TemporaryDirectory scratch;
  const std::string outside = scratch.write("outside", "");
  scratch.write("run/analysis.files", "../outside\n" + outside + "\ntables/../../outside\n\n");
  AnalysisFiles(system_files(), scratch / "run").remove();
  EXPECT_TRUE(std::filesystem::exists(outside));
}

}  // namespace
}  // namespace factflow
