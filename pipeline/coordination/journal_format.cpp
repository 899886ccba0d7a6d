#include "pipeline/coordination/journal_format.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include <fmt/format.h>
#include <xxhash.h>

namespace factflow {
namespace {

constexpr std::uint32_t kFrameMagic = 0x4D524646;  // "FFRM"
constexpr std::size_t kReadBytes = std::size_t{1} << 20;

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "journals are written in the order of the machine");

template <class T>
void put(char* to, T value) {
  std::memcpy(to, &value, sizeof(T));
}

template <class T>
T get(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

std::uint64_t checksum(const char* bytes, std::size_t size) {
  return XXH3_64bits(bytes, size);
}

// The checksum of a stretch of a file, read in pieces. Empty if the file ends before it does.
std::optional<std::uint64_t> checksum_of_file(FileOperations& files, int fd,
                                              const std::filesystem::path& path,
                                              std::int64_t offset, std::uint64_t size) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(),
                                                                       XXH3_freeState);
  if (!state) throw std::bad_alloc();
  XXH3_64bits_reset(state.get());
  std::vector<char> piece(std::min<std::uint64_t>(size, kReadBytes));
  while (size > 0) {
    const std::size_t now = std::min<std::uint64_t>(size, piece.size());
    if (!read_fully(files, fd, path, piece.data(), now, offset)) return std::nullopt;
    XXH3_64bits_update(state.get(), piece.data(), now);
    offset += static_cast<std::int64_t>(now);
    size -= now;
  }
  return XXH3_64bits_digest(state.get());
}

// One journal file during a scan.
class Scan {
 public:
  Scan(FileOperations& files, int fd, const std::filesystem::path& path, std::int64_t size)
      : files_(files), fd_(fd), path_(path), size_(size) {}

  std::int64_t size() const { return size_; }

  std::optional<FrameHeader> frame_header(std::int64_t offset) const {
    char bytes[kFrameHeaderBytes];
    if (!read_fully(files_, fd_, path_, bytes, sizeof(bytes), offset)) return std::nullopt;
    return decode_frame_header({bytes, sizeof(bytes)});
  }

  // The records of the frame at `offset`; empty if anything in it is wrong.
  std::optional<std::vector<RecordPlace>> records(std::int64_t offset,
                                                  const FrameHeader& frame) const {
    std::int64_t at = offset + static_cast<std::int64_t>(kFrameHeaderBytes);
    if (frame.body_bytes > static_cast<std::uint64_t>(std::max<std::int64_t>(size_ - at, 0)))
      return std::nullopt;
    const std::int64_t end = at + static_cast<std::int64_t>(frame.body_bytes);
    if (frame.records > frame.body_bytes / kRecordBytes) return std::nullopt;
    std::vector<RecordPlace> places;
    places.reserve(frame.records);
    for (std::uint32_t i = 0; i < frame.records; ++i) {
      const std::optional<RecordPlace> place = record(at, end);
      if (!place) return std::nullopt;
      at = place->offset + static_cast<std::int64_t>(place->bytes) + 8;
      places.push_back(*place);
    }
    if (at != end) return std::nullopt;
    return places;
  }

  // The offset of a good frame header with a number above `sequence`, from `offset` on.
  std::optional<std::int64_t> later_frame(std::int64_t offset, std::uint64_t sequence) const {
    std::vector<char> piece(kReadBytes);
    while (offset + static_cast<std::int64_t>(kFrameHeaderBytes) <= size_) {
      const auto now = static_cast<std::size_t>(std::min<std::int64_t>(size_ - offset, kReadBytes));
      if (!read_fully(files_, fd_, path_, piece.data(), now, offset)) return std::nullopt;
      for (std::size_t i = 0; i + kFrameHeaderBytes <= now; ++i) {
        if (get<std::uint32_t>(piece.data() + i) != kFrameMagic) continue;
        const std::optional<FrameHeader> frame =
            decode_frame_header({piece.data() + i, kFrameHeaderBytes});
        if (frame && frame->sequence > sequence) return offset + static_cast<std::int64_t>(i);
      }
      offset += static_cast<std::int64_t>(now - kFrameHeaderBytes + 1);
    }
    return std::nullopt;
  }

 private:
  std::optional<RecordPlace> record(std::int64_t at, std::int64_t end) const {
    char header[kRecordHeaderBytes], stored[8];
    if (end - at < static_cast<std::int64_t>(kRecordBytes)) return std::nullopt;
    if (!read_fully(files_, fd_, path_, header, sizeof(header), at)) return std::nullopt;
    const auto type = get<std::uint32_t>(header);
    RecordPlace place;
    place.unit = {get<std::uint64_t>(header + 8), get<std::uint64_t>(header + 16)};
    place.bytes = get<std::uint64_t>(header + 24);
    place.offset = at + static_cast<std::int64_t>(kRecordHeaderBytes);
    if (type < static_cast<std::uint32_t>(RecordType::kResult) ||
        type > static_cast<std::uint32_t>(RecordType::kPartial))
      return std::nullopt;
    place.type = static_cast<RecordType>(type);
    if (place.bytes > static_cast<std::uint64_t>(end - at) - kRecordBytes) return std::nullopt;
    if (!read_fully(files_, fd_, path_, stored, sizeof(stored),
                    place.offset + static_cast<std::int64_t>(place.bytes)))
      return std::nullopt;
    if (checksum_of_file(files_, fd_, path_, at, kRecordHeaderBytes + place.bytes) !=
        get<std::uint64_t>(stored))
      return std::nullopt;
    return place;
  }

  FileOperations& files_;
  int fd_;
  const std::filesystem::path& path_;
  std::int64_t size_;
};

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& problem,
                         const char* remedy) {
  throw RunError(fmt::format("{}: {}; {}", path.string(), problem, remedy));
}

}  // namespace

std::string encode_journal_header(std::string_view identity) {
  if (identity.size() > kLargestIdentity)
    throw std::invalid_argument("the identity of a run has at most 64 bytes");
  std::string bytes(kJournalHeaderBytes, '\0');
  std::memcpy(bytes.data(), kJournalMagic.data(), kJournalMagic.size());
  put(bytes.data() + 8, kJournalVersion);
  put(bytes.data() + 12, static_cast<std::uint32_t>(identity.size()));
  std::memcpy(bytes.data() + 16, identity.data(), identity.size());
  put(bytes.data() + 80, checksum(bytes.data(), 80));
  return bytes;
}

void check_journal_header(std::string_view bytes, const std::filesystem::path& path,
                          std::string_view identity) {
  if (bytes.size() != kJournalHeaderBytes || !bytes.starts_with(kJournalMagic))
    refuse(path, "is not a factflow journal",
           "choose another output directory, or start over with --fresh");
  const auto version = get<std::uint32_t>(bytes.data() + 8);
  if (version != kJournalVersion)
    refuse(path,
           fmt::format("has journal format {}, this version of factflow writes format {}", version,
                       kJournalVersion),
           "continue with the version that began this run, or start over with --fresh");
  const auto length = get<std::uint32_t>(bytes.data() + 12);
  if (get<std::uint64_t>(bytes.data() + 80) != checksum(bytes.data(), 80) ||
      length > kLargestIdentity)
    refuse(path, "has a damaged header", "start over with --fresh");
  const std::string_view found = bytes.substr(16, length);
  if (found != identity)
    refuse(path,
           fmt::format("belongs to a run with another configuration or other inputs (identity {}, "
                       "expected {})",
                       found, identity),
           "choose another output directory, or start over with --fresh");
}

std::array<char, kFrameHeaderBytes> encode_frame_header(const FrameHeader& header) {
  std::array<char, kFrameHeaderBytes> bytes;
  put(bytes.data(), kFrameMagic);
  put(bytes.data() + 4, header.records);
  put(bytes.data() + 8, header.sequence);
  put(bytes.data() + 16, header.body_bytes);
  put(bytes.data() + 24, checksum(bytes.data(), 24));
  return bytes;
}

std::optional<FrameHeader> decode_frame_header(std::string_view bytes) {
  if (bytes.size() < kFrameHeaderBytes || get<std::uint32_t>(bytes.data()) != kFrameMagic)
    return std::nullopt;
  if (get<std::uint64_t>(bytes.data() + 24) != checksum(bytes.data(), 24)) return std::nullopt;
  return FrameHeader{get<std::uint32_t>(bytes.data() + 4), get<std::uint64_t>(bytes.data() + 8),
                     get<std::uint64_t>(bytes.data() + 16)};
}

void append_record(std::string& body, RecordType type, const UnitKey& unit,
                   std::string_view payload) {
  const std::size_t start = body.size();
  char header[kRecordHeaderBytes] = {};
  put(header, static_cast<std::uint32_t>(type));
  put(header + 8, unit.unit);
  put(header + 16, unit.selection);
  put(header + 24, static_cast<std::uint64_t>(payload.size()));
  body.append(header, sizeof(header));
  body.append(payload);
  char sum[8];
  put(sum, checksum(body.data() + start, body.size() - start));
  body.append(sum, sizeof(sum));
}

JournalPosition scan_journal(FileOperations& files, int fd, const std::filesystem::path& path,
                             std::int64_t size, JournalPosition from,
                             const std::function<void(const RecordPlace&)>& visit) {
  const Scan scan(files, fd, path, size);
  JournalPosition position = from;
  while (position.offset < scan.size()) {
    const std::optional<FrameHeader> frame = scan.frame_header(position.offset);
    const bool expected = frame && frame->sequence == position.sequence + 1;
    const auto records = expected ? scan.records(position.offset, *frame) : std::nullopt;
    if (!records) {
      // Frame n + 2 after a bad frame n + 1 proves that n + 1 was once synced.
      if (const auto later = scan.later_frame(position.offset, position.sequence + 1))
        throw DamagedJournal(fmt::format(
            "{}: damaged at byte {} though intact records follow at byte {}; this is no "
            "interrupted write: check the disk, restore the file, or start over with --fresh",
            path.string(), position.offset, *later));
      break;
    }
    for (const RecordPlace& place : *records) visit(place);
    position = {position.offset + static_cast<std::int64_t>(kFrameHeaderBytes + frame->body_bytes),
                frame->sequence};
  }
  return position;
}

std::uint32_t records_announced(FileOperations& files, int fd, const std::filesystem::path& path,
                                std::int64_t offset) {
  const Scan scan(files, fd, path, file_size(files, fd, path));
  const std::optional<FrameHeader> frame = scan.frame_header(offset);
  return frame ? frame->records : 0;
}

}  // namespace factflow
