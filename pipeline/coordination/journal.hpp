// The durable truth of a run: DIR/journal/*.journal, append-only, one file per writing process.
// results.h5 and everything else can be made again from it. Format: journal_format.hpp and
// docs/distribution.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "pipeline/coordination/journal_format.hpp"

namespace factflow {

struct JournalRecord {
  RecordType type = RecordType::kResult;
  std::uint64_t unit = 0;
  std::string payload;
  std::uint64_t selection = 0;  // see UnitKey
};

// Whether a file in the directory of journals has the name of one, or of the half of one that a
// crash left; and whether a file begins as journals of every version do.
bool is_journal_name(const std::string& name);
bool begins_as_journal(const std::filesystem::path& path);

// What a file has behind its last whole commit.
struct TornEnd {
  std::filesystem::path file;
  std::int64_t bytes = 0;
  std::uint32_t records = 0;  // that the commit says to have; 0 = it does not say
};

// What all journal files of a directory say, without the payloads: about 100 bytes of memory per
// unit. One thread at a time. If a unit has several records, a result counts before a split, a
// split before a partial result, that before a failure; among results and splits the first read
// counts (files by name, then by position), among the others the last.
class JournalIndex {
 public:
  // Reads `directory` if it exists, unless it `begins_empty`. What a file holds is synced before it
  // is believed: its writer may be between writing and syncing, or killed there. Throws RunError
  // for damaged files and for those of another run or version.
  JournalIndex(FileOperations& files, std::filesystem::path directory, std::string identity,
               bool begins_empty = false);

  // Reads what was added since (also by other processes, also files that are new) and returns how
  // many records that were. `skip_writer`: a file not to be looked at, because the caller writes
  // it while others may write theirs: what looks damaged in those is looked at again for a while,
  // since a network file system may show a later page before an earlier one.
  std::size_t refresh(const std::string& skip_writer = "");

  // Of the files as they were when last read.
  std::vector<TornEnd> torn_ends() const;

  // The record that counts for a unit; null if it has none.
  const RecordPlace* find(const UnitKey& unit) const;
  // Its payload. Checked again on reading: throws RunError if the file has changed under the index.
  JournalRecord read(const UnitKey& unit) const;
  // The records that count, ordered by unit, one in memory at a time.
  void for_each(const std::function<void(const JournalRecord&)>& visit) const;

  std::size_t units() const { return units_.size(); }
  std::size_t count(RecordType type) const;
  // How far the file of this writer is good; the start if it does not exist.
  JournalPosition position(const std::string& writer) const;

 private:
  struct Entry {
    RecordPlace place;
    std::uint32_t file = 0;
  };
  struct File {
    std::uint32_t number = 0;
    JournalPosition position;
    TornEnd torn;
  };
  std::size_t read_file(const std::string& name);
  File& file_named(const std::string& name, int fd, const std::filesystem::path& path);
  void add(const RecordPlace& place, std::uint32_t file);
  JournalRecord read(const Entry& entry) const;
  int descriptor(std::uint32_t file) const;

  FileOperations& files_;
  std::filesystem::path directory_;
  std::string identity_;
  std::map<std::string, File> known_;  // by file name
  std::vector<std::string> names_;     // by number
  std::unordered_map<UnitKey, Entry> units_;
  mutable std::map<std::uint32_t, OpenFile> open_;  // files that payloads were read from lately
};

// Appends to DIR/WRITER.journal. One thread at a time. After an exception the journal takes nothing
// more; what was committed before is safe.
class Journal {
 public:
  // Creates the directory and the file if need be (a file appears with its header or not at all),
  // cuts off a torn end, and locks the file against a second writer where the file system can.
  // `index` must be fresh. Throws RunError.
  Journal(FileOperations& files, const std::filesystem::path& directory, std::string_view identity,
          const std::string& writer, const JournalIndex& index);
  // The same, but nothing is made before the first commit, which begins with a call of
  // `before_opening`. If that or the opening throws, a later commit tries both again.
  Journal(FileOperations& files, std::filesystem::path directory, std::string identity,
          const std::string& writer, std::function<void()> before_opening);

  // Takes a record into memory.
  void append(RecordType type, const UnitKey& unit, std::string_view payload);
  std::size_t pending_records() const { return pending_records_; }
  std::size_t pending_bytes() const { return frame_.size(); }
  // Writes and syncs everything appended: when it returns, the records are on disk for good. Throws
  // RunError; the file then still holds every earlier commit.
  void commit();

  bool is_open() const { return static_cast<bool>(file_); }
  const std::filesystem::path& path() const { return path_; }
  std::uint64_t commits() const { return position_.sequence; }

 private:
  void open();
  void create();
  void cut_torn_end(int fd);
  void clear();

  FileOperations& files_;
  std::filesystem::path path_;
  std::string identity_;
  JournalPosition position_;
  std::function<void()> before_opening_;
  OpenFile file_;
  std::string frame_;  // header space, then the records not yet committed
  std::uint32_t pending_records_ = 0;
  bool broken_ = false;
};

}  // namespace factflow
