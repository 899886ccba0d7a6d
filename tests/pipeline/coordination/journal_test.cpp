#include "pipeline/coordination/journal.hpp"

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "base/files.hpp"
#include "tests/pipeline/coordination/testing.hpp"

namespace factflow {
namespace {

using ::testing::HasSubstr;

constexpr const char* kIdentity = "0123456789abcdef";

std::string payload_of(std::uint64_t unit) {
  return fmt::format("payload {} ", unit) + std::string(unit * 37 % 50, 'p');
}

// `commits` group commits of `per_commit` results each, numbered from `first`.
void write_units(const std::filesystem::path& directory, std::uint64_t first, int commits,
                 int per_commit, const std::string& writer = "main") {
  testing::UnsyncedFiles files;
  const JournalIndex index(files, directory, kIdentity);
  Journal journal(files, directory, kIdentity, writer, index);
  for (int i = 0; i < commits; ++i) {
    for (int j = 0; j < per_commit; ++j, ++first)
      journal.append(RecordType::kResult, first, payload_of(first));
    journal.commit();
  }
}

void expect_units(const JournalIndex& index, std::uint64_t units) {
  EXPECT_EQ(index.units(), units);
  std::uint64_t next = 0;
  index.for_each([&](const JournalRecord& record) {
    EXPECT_EQ(record.unit, next);
    EXPECT_EQ(record.payload, payload_of(next++));
  });
  EXPECT_EQ(next, units);
}

void overwrite(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

TEST(Journal, GivesBackWhatWasCommitted) {
  const TemporaryDirectory directory;
  write_units(directory / "journal", 0, 5, 4);
  write_units(directory / "journal", 20, 1, 1);
  expect_units(JournalIndex(system_files(), directory / "journal", kIdentity), 21);
}

TEST(Journal, HoldsEmptyAndLargePayloads) {
  const TemporaryDirectory directory;
  const std::string large(std::size_t{40} << 20, 'L');
  {
    const JournalIndex index(system_files(), directory.path(), kIdentity);
    Journal journal(system_files(), directory.path(), kIdentity, "main", index);
    journal.append(RecordType::kResult, 1, "");
    journal.append(RecordType::kResult, ~std::uint64_t{0}, large);
    journal.commit();
  }
  const JournalIndex index(system_files(), directory.path(), kIdentity);
  EXPECT_EQ(index.read(1).payload, "");
  EXPECT_TRUE(index.read(~std::uint64_t{0}).payload == large);
}

TEST(Journal, WhatWasNotCommittedIsNotThere) {
  const TemporaryDirectory directory;
  {
    const JournalIndex index(system_files(), directory.path(), kIdentity);
    Journal journal(system_files(), directory.path(), kIdentity, "main", index);
    journal.append(RecordType::kResult, 1, "never committed");
  }
  EXPECT_EQ(JournalIndex(system_files(), directory.path(), kIdentity).units(), 0u);
}

TEST(Journal, CutsATornEndWhereverItIsTorn) {
  const TemporaryDirectory directory;
  testing::UnsyncedFiles files;
  write_units(directory / "whole", 0, 2, 3);
  const std::string two = read_file(directory / "whole" / "main.journal");
  write_units(directory / "whole", 6, 1, 2);
  const std::string three = read_file(directory / "whole" / "main.journal");
  std::filesystem::create_directory(directory / "torn");
  for (std::size_t size = two.size(); size < three.size(); ++size) {
    overwrite(directory / "torn" / "main.journal", three.substr(0, size));
    expect_units(JournalIndex(files, directory / "torn", kIdentity), 6);
    write_units(directory / "torn", 6, 1, 1);
    expect_units(JournalIndex(files, directory / "torn", kIdentity), 7);
  }
}

// Pages of an unsynced commit may reach the disk in any order: garbage or zeros anywhere in the
// last frame.
TEST(Journal, CutsALastFrameThatIsDamagedAnywhere) {
  const TemporaryDirectory directory;
  testing::UnsyncedFiles files;
  write_units(directory / "whole", 0, 2, 3);
  const std::string two = read_file(directory / "whole" / "main.journal");
  write_units(directory / "whole", 6, 1, 2);
  const std::string three = read_file(directory / "whole" / "main.journal");
  std::filesystem::create_directory(directory / "torn");
  for (std::size_t at = two.size(); at < three.size(); ++at) {
    std::string damaged = three;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
    overwrite(directory / "torn" / "main.journal", damaged);
    expect_units(JournalIndex(files, directory / "torn", kIdentity), 6);
  }
}

TEST(Journal, DamageBeforeTheLastFrameIsAnErrorThatNamesThePlace) {
  const TemporaryDirectory directory;
  testing::UnsyncedFiles files;
  write_units(directory / "whole", 0, 4, 2);
  const std::string whole = read_file(directory / "whole" / "main.journal");
  const std::size_t last = whole.rfind("FFRM");
  std::filesystem::create_directory(directory / "bad");
  for (std::size_t at = kJournalHeaderBytes; at < last; ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
    overwrite(directory / "bad" / "main.journal", damaged);
    try {
      JournalIndex(files, directory / "bad", kIdentity);
      FAIL() << "damage at " << at << " was not seen";
    } catch (const RunError& error) {
      EXPECT_THAT(error.what(), HasSubstr("main.journal: damaged at byte"));
    }
  }
}

TEST(Journal, HugeLengthsInTheFileAreNotBelieved) {
  const TemporaryDirectory directory;
  write_units(directory.path(), 0, 1, 2);
  const std::filesystem::path file = directory / "main.journal";
  const std::string good = read_file(file);
  for (const FrameHeader& header :
       {FrameHeader{0xFFFFFFFF, 2, 1 << 20}, FrameHeader{1, 2, ~std::uint64_t{0}},
        FrameHeader{1, 2, std::uint64_t{1} << 62}, FrameHeader{0xFFFFFFFF, 2, 64}}) {
    const auto bytes = encode_frame_header(header);
    overwrite(file, good + std::string(bytes.data(), bytes.size()) + std::string(64, '\xFF'));
    expect_units(JournalIndex(system_files(), directory.path(), kIdentity), 2);
  }
}

TEST(Journal, RefusesFilesThatAreNotOfThisRun) {
  const TemporaryDirectory directory;
  write_units(directory.path(), 0, 1, 1);
  const std::filesystem::path file = directory / "main.journal";
  const std::string good = read_file(file);
  const auto refusal = [&](const std::string& bytes, const char* identity) -> std::string {
    overwrite(file, bytes);
    try {
      JournalIndex(system_files(), directory.path(), identity);
    } catch (const RunError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(refusal(good, "another"), HasSubstr("belongs to a run with another configuration"));
  EXPECT_THAT(refusal("", kIdentity), HasSubstr("is not a factflow journal"));
  EXPECT_THAT(refusal(std::string(200, 'x'), kIdentity), HasSubstr("is not a factflow journal"));
  std::string version = good;
  version[8] = 9;
  EXPECT_THAT(refusal(version, kIdentity), HasSubstr("has journal format 9"));
  std::string damaged = good;
  damaged[20] = '?';
  EXPECT_THAT(refusal(damaged, kIdentity), HasSubstr("damaged header"));
}

TEST(Journal, SeveralWritersMakeOneTruth) {
  const TemporaryDirectory directory;
  write_units(directory.path(), 0, 2, 5, "job-1");
  write_units(directory.path(), 8, 1, 4, "job-2");  // 8 and 9 twice
  expect_units(JournalIndex(system_files(), directory.path(), kIdentity), 12);
}

TEST(Journal, AResultCountsBeforeASplitBeforeAPartialResultBeforeTheLastFailure) {
  const TemporaryDirectory directory;
  const JournalIndex empty(system_files(), directory.path(), kIdentity);
  Journal journal(system_files(), directory.path(), kIdentity, "main", empty);
  journal.append(RecordType::kFailed, 1, "first reason");
  journal.append(RecordType::kFailed, 1, "second reason");
  journal.append(RecordType::kResult, 2, "first result");
  journal.append(RecordType::kFailed, 2, "a reason");
  journal.append(RecordType::kResult, 2, "second result");
  journal.append(RecordType::kFailed, 3, "a reason");
  journal.append(RecordType::kSplit, 3, "");
  journal.append(RecordType::kPartial, 3, "too late");
  journal.append(RecordType::kPartial, 4, "one prompt failed");
  journal.append(RecordType::kPartial, 4, "another one did");
  journal.append(RecordType::kFailed, 4, "a reason");
  journal.append(RecordType::kPartial, 5, "one prompt failed");
  journal.append(RecordType::kResult, 5, "all went well");
  journal.commit();
  const JournalIndex index(system_files(), directory.path(), kIdentity);
  EXPECT_EQ(index.read(1).payload, "second reason");
  EXPECT_EQ(index.read(2).payload, "first result");
  EXPECT_EQ(index.find(3)->type, RecordType::kSplit);
  EXPECT_EQ(index.read(4).payload, "another one did");
  EXPECT_EQ(index.read(5).payload, "all went well");
  EXPECT_EQ(index.count(RecordType::kResult), 2u);
  EXPECT_EQ(index.find(6), nullptr);
}

TEST(Journal, AnIndexFollowsWritersThatAreStillWriting) {
  const TemporaryDirectory directory;
  JournalIndex index(system_files(), directory.path(), kIdentity);
  write_units(directory.path(), 0, 1, 3, "job-1");
  EXPECT_EQ(index.refresh(), 3u);
  EXPECT_EQ(index.refresh(), 0u);
  write_units(directory.path(), 3, 1, 2, "job-2");
  EXPECT_EQ(index.refresh("job-2"), 0u);
  EXPECT_EQ(index.refresh(), 2u);
  // Half a frame is nothing yet; when the rest arrives it counts.
  write_units(directory / "other", 0, 1, 3, "job-1");
  write_units(directory / "other", 5, 1, 1, "job-1");
  const std::string all = read_file(directory / "other" / "job-1.journal");
  overwrite(directory / "job-1.journal", all.substr(0, all.size() - 10));
  EXPECT_EQ(index.refresh(), 0u);
  overwrite(directory / "job-1.journal", all);
  EXPECT_EQ(index.refresh(), 1u);
  expect_units(index, 6);
}

// Up to format 1 a unit's number held 16 bits of its selection.
TEST(Journal, ARecordCountsForItsSelectionOnly) {
  const TemporaryDirectory directory;
  {
    const JournalIndex empty(system_files(), directory.path(), kIdentity);
    Journal journal(system_files(), directory.path(), kIdentity, "main", empty);
    journal.append(RecordType::kResult, {7, 0xabcd'0000'0000'1234}, "of one list");
    journal.append(RecordType::kResult, {7, 0xef01'0000'0000'1234}, "of another list");
    journal.commit();
  }
  const JournalIndex index(system_files(), directory.path(), kIdentity);
  EXPECT_EQ(index.units(), 2u);
  EXPECT_EQ(index.read({7, 0xabcd'0000'0000'1234}).payload, "of one list");
  EXPECT_EQ(index.read({7, 0xef01'0000'0000'1234}).payload, "of another list");
  EXPECT_EQ(index.find(7), nullptr);
  index.for_each([](const JournalRecord& record) {
    EXPECT_EQ(record.unit, 7u);
    EXPECT_EQ(record.selection & 0xffff, 0x1234u);
  });
}

TEST(Journal, TheFormatBeforeIsRefusedInOneLine) {
  const TemporaryDirectory directory;
  write_units(directory.path(), 0, 1, 1);
  std::string old = read_file(directory / "main.journal");
  old[8] = 1;
  overwrite(directory / "main.journal", old);
  try {
    JournalIndex(system_files(), directory.path(), kIdentity);
    FAIL() << "records of format 1 are shorter";
  } catch (const RunError& error) {
    EXPECT_THAT(error.what(), HasSubstr("main.journal: has journal format 1, this version of "
                                        "factflow writes format 2; continue with the version"));
  }
}

TEST(Journal, ATornEndIsReported) {
  const TemporaryDirectory directory;
  write_units(directory.path(), 0, 2, 3);
  EXPECT_TRUE(JournalIndex(system_files(), directory.path(), kIdentity).torn_ends().empty());
  const std::string whole = read_file(directory / "main.journal");
  const std::size_t last = whole.rfind("FFRM");
  overwrite(directory / "main.journal", whole.substr(0, whole.size() - 5));
  const std::vector<TornEnd> ends =
      JournalIndex(system_files(), directory.path(), kIdentity).torn_ends();
  ASSERT_EQ(ends.size(), 1u);
  EXPECT_EQ(ends[0].file, directory / "main.journal");
  EXPECT_EQ(ends[0].bytes, static_cast<std::int64_t>(whole.size() - 5 - last));
  EXPECT_EQ(ends[0].records, 3u);
  overwrite(directory / "main.journal", whole.substr(0, last + 7));  // half a header
  const std::vector<TornEnd> less =
      JournalIndex(system_files(), directory.path(), kIdentity).torn_ends();
  ASSERT_EQ(less.size(), 1u);
  EXPECT_EQ(less[0].bytes, 7);
  EXPECT_EQ(less[0].records, 0u);
}

// Bytes up to `synced` have been synced; of those beyond, nobody may believe any.
class WatchedFiles : public FileOperations {
 public:
  int sync_data(int fd) override {
    struct stat status {};
    FileOperations::status(fd, &status);
    synced = status.st_size;
    return FileOperations::sync_data(fd);
  }
  ssize_t pread(int fd, void* bytes, std::size_t size, std::int64_t offset) override {
    const ssize_t got = FileOperations::pread(fd, bytes, size, offset);
    if (offset >= static_cast<std::int64_t>(kJournalHeaderBytes) && got > 0) {
      EXPECT_LE(offset + got, synced) << "read before it was synced";
    }
    return got;
  }
  std::int64_t synced = 0;
};

TEST(Journal, WhatALiveWriterAddsIsSyncedBeforeItIsBelieved) {
  const TemporaryDirectory directory;
  WatchedFiles files;
  write_units(directory.path(), 0, 1, 3, "job-1");
  JournalIndex index(files, directory.path(), kIdentity);
  write_units(directory.path(), 3, 2, 2, "job-1");  // may not be synced yet by its writer
  EXPECT_EQ(index.refresh("job-2"), 4u);
  EXPECT_EQ(index.refresh("job-2"), 0u);
}

// A network file system may show the next commit before the one that it follows.
class LatePages : public FileOperations {
 public:
  LatePages(std::int64_t begin, std::int64_t end) : begin_(begin), end_(end) {}
  ssize_t pread(int fd, void* bytes, std::size_t size, std::int64_t offset) override {
    const ssize_t got = FileOperations::pread(fd, bytes, size, offset);
    for (std::int64_t i = 0; i < got && looks > 0; ++i)
      if (offset + i >= begin_ && offset + i < end_) static_cast<char*>(bytes)[i] = 0;
    return got;
  }
  int open(const std::filesystem::path& path, int flags, mode_t mode) override {
    if (path.extension() == ".journal") --looks;
    return FileOperations::open(path, flags, mode);
  }
  int looks = 1000;

 private:
  std::int64_t begin_, end_;
};

TEST(Journal, PagesOfALiveWriterThatComeLateAreNoDamage) {
  const TemporaryDirectory directory;
  write_units(directory.path(), 0, 3, 2, "job-1");
  const std::string whole = read_file(directory / "job-1.journal");
  const std::size_t second = whole.find("FFRM", whole.find("FFRM") + 1);
  LatePages files(static_cast<std::int64_t>(second), static_cast<std::int64_t>(second) + 64);
  JournalIndex index(files, directory.path(), kIdentity, /*begins_empty=*/true);
  files.looks = 3;  // then the pages are there
  EXPECT_EQ(index.refresh("job-2"), 6u);
  expect_units(index, 6);
  // Nobody writes beside a launch that has the directory alone.
  files.looks = 1000;
  EXPECT_THROW(JournalIndex(files, directory.path(), kIdentity), DamagedJournal);
}

TEST(Journal, OneThatWaitsForItsFirstCommitMakesNothingBefore) {
  const TemporaryDirectory directory;
  int calls = 0;
  {
    Journal journal(system_files(), directory / "journal", kIdentity, "main", [&] {
      if (++calls == 1) throw RunError("not yet");
    });
    journal.append(RecordType::kResult, 1, "one");
    EXPECT_FALSE(journal.is_open());
    EXPECT_FALSE(std::filesystem::exists(directory / "journal"));
    EXPECT_THROW(journal.commit(), RunError);
    EXPECT_FALSE(std::filesystem::exists(directory / "journal"));
    journal.commit();
    EXPECT_TRUE(journal.is_open());
    journal.append(RecordType::kResult, 2, "two");
    journal.commit();
  }
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(JournalIndex(system_files(), directory / "journal", kIdentity).units(), 2u);
}

TEST(Journal, ASecondWriterOfOneFileIsRefused) {
  const TemporaryDirectory directory;
  const JournalIndex index(system_files(), directory.path(), kIdentity);
  const Journal journal(system_files(), directory.path(), kIdentity, "main", index);
  EXPECT_THROW(Journal(system_files(), directory.path(), kIdentity, "main", index), RunError);
}

TEST(Journal, AReadOnlyDirectorySaysSo) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write anywhere";
  const TemporaryDirectory directory;
  std::filesystem::permissions(
      directory.path(), std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  const JournalIndex index(system_files(), directory.path(), kIdentity);
  EXPECT_THROW(Journal(system_files(), directory.path(), kIdentity, "main", index), RunError);
}

TEST(Journal, TakesNothingMoreAfterAFailedSync) {
  const TemporaryDirectory directory;
  testing::FaultyFiles files;
  const JournalIndex index(files, directory.path(), kIdentity);
  Journal journal(files, directory.path(), kIdentity, "main", index);
  files.fault = testing::FaultyFiles::Fault::kIoError;
  files.fail_at = files.steps + 2;  // the write, then its sync
  journal.append(RecordType::kResult, 1, "x");
  EXPECT_THROW(journal.commit(), RunError);
  EXPECT_THROW(journal.commit(), RunError)
      << "a second sync would claim what the first could not do";
}

}  // namespace
}  // namespace factflow
