// The bytes of a journal file, format version 2. docs/distribution.md describes the format for
// readers in other languages.
//
//   file   = header frame*
//   header = magic "FFJOURN\n", u32 version, u32 identity length, char identity[64], u64 xxh3 of
//   the 80 bytes before it frame  = u32 magic, u32 records, u64 sequence (from 1), u64 body bytes,
//   u64 xxh3 of the 24 bytes before it, body body   = record* record = u32 type, u32 zero, u64
//   unit, u64 selection, u64 payload bytes, payload, u64 xxh3 of all of the record before it
//
// Integers are little-endian. One frame is one group commit: frame n + 1 is written only after
// frame n was synced. So damage in the last frame is the torn end of a crash, and damage before a
// later frame is a broken disk.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/file_operations.hpp"
#include "pipeline/coordination/unit_key.hpp"

namespace factflow {

enum class RecordType : std::uint32_t {
  kResult = 1,  // payload = the result
  kFailed,      // payload = the reason
  kSplit,       // the unit did not fit and was replaced by its parts; no payload
  kPartial,     // payload = a result in which some prompts failed
};

inline bool is_result(RecordType type) {
  return type == RecordType::kResult || type == RecordType::kPartial;
}
// What a launch with --retry-failed computes again.
inline bool is_flawed(RecordType type) {
  return type == RecordType::kFailed || type == RecordType::kPartial;
}

inline constexpr std::string_view kJournalMagic = "FFJOURN\n";
inline constexpr std::uint32_t kJournalVersion = 2;  // 1 had no selection
inline constexpr std::size_t kJournalHeaderBytes = 88;
inline constexpr std::size_t kFrameHeaderBytes = 32;
inline constexpr std::size_t kRecordHeaderBytes = 32;
inline constexpr std::size_t kRecordBytes = kRecordHeaderBytes + 8;  // around the payload
inline constexpr std::size_t kLargestIdentity = 64;

struct FrameHeader {
  std::uint32_t records = 0;
  std::uint64_t sequence = 0, body_bytes = 0;
};

std::string encode_journal_header(std::string_view identity);
// Throws RunError for a file that is no journal, of another version, or of a run with another
// identity.
void check_journal_header(std::string_view bytes, const std::filesystem::path& path,
                          std::string_view identity);

std::array<char, kFrameHeaderBytes> encode_frame_header(const FrameHeader& header);
std::optional<FrameHeader> decode_frame_header(
    std::string_view bytes);  // empty if magic or checksum are wrong
void append_record(std::string& body, RecordType type, const UnitKey& unit,
                   std::string_view payload);

// Where a record's payload lies.
struct RecordPlace {
  RecordType type = RecordType::kResult;
  UnitKey unit;
  std::int64_t offset = 0;  // of the payload, from the start of the file
  std::uint64_t bytes = 0;  // of the payload
};

// How far a scan came.
struct JournalPosition {
  std::int64_t offset = kJournalHeaderBytes;  // the end of the last good frame
  std::uint64_t sequence = 0;                 // its number
};

// A good frame follows after a bad one: no write that was interrupted, unless the reader sees what
// another host is writing just now.
class DamagedJournal : public RunError {
 public:
  using RunError::RunError;
};

// Reads the frames from `from` on, up to byte `size` of the file, checks every byte, and calls
// `visit` for each record of each good frame, in order. Returns the end of the last good frame.
// What follows it is an unfinished frame (a torn end, or one that its process is just writing).
// Memory stays bounded whatever the file says. Throws DamagedJournal naming file and offset if a
// good frame follows after a bad one.
JournalPosition scan_journal(FileOperations& files, int fd, const std::filesystem::path& path,
                             std::int64_t size, JournalPosition from,
                             const std::function<void(const RecordPlace&)>& visit);

// How many records the frame at `offset` says to have, whether or not they are there; 0 if it has
// no readable header.
std::uint32_t records_announced(FileOperations& files, int fd, const std::filesystem::path& path,
                                std::int64_t offset);

}  // namespace factflow
