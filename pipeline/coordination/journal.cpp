#include "pipeline/coordination/journal.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include "base/error.hpp"

namespace factflow {
namespace {

constexpr std::string_view kSuffix = ".journal";
constexpr const char* kHalf = ".new";  // behind the name of a file that is being made
constexpr std::size_t kMostOpenFiles = 64;
constexpr std::size_t kKeptBuffer = std::size_t{32} << 20;
constexpr int kLooks = 20;  // at a file that looks damaged while others write
constexpr std::chrono::milliseconds kBetweenLooks{100};

bool is_whole_journal_name(std::string_view name) {
  return name.size() > kSuffix.size() && name[0] != '.' && name.ends_with(kSuffix);
}

int importance(RecordType type) {
  switch (type) {
    case RecordType::kResult:
      return 4;
    case RecordType::kSplit:
      return 3;
    case RecordType::kPartial:
      return 2;
    case RecordType::kFailed:
      return 1;
  }
  return 0;
}

}  // namespace

bool is_journal_name(const std::string& name) {
  return is_whole_journal_name(name) ||
         (name.starts_with(".") && name.ends_with(std::string(kSuffix) + kHalf));
}

bool begins_as_journal(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string begin(kJournalMagic.size(), '\0');
  file.read(begin.data(), static_cast<std::streamsize>(begin.size()));
  return file && begin == kJournalMagic;
}

JournalIndex::JournalIndex(FileOperations& files, std::filesystem::path directory,
                           std::string identity, bool begins_empty)
    : files_(files), directory_(std::move(directory)), identity_(std::move(identity)) {
  if (!begins_empty) refresh();
}

std::size_t JournalIndex::refresh(const std::string& skip_writer) {
  std::vector<std::string> names;
  if (files_.list(directory_, &names) != 0) {
    if (errno == ENOENT) return 0;
    throw_file_error(directory_, "list", errno);
  }
  std::size_t added = 0;
  for (const std::string& name : names) {
    if (!is_whole_journal_name(name) || name == skip_writer + std::string(kSuffix)) continue;
    for (int attempt = skip_writer.empty() ? kLooks : 1;; ++attempt) {
      try {
        added += read_file(name);
        break;
      } catch (const DamagedJournal&) {
        if (attempt >= kLooks) throw;
      }
      std::this_thread::sleep_for(kBetweenLooks);
    }
  }
  return added;
}

std::size_t JournalIndex::read_file(const std::string& name) {
  const std::filesystem::path path = directory_ / name;
  // Opened anew each time: on NFS that is what makes another host's writes visible.
  const OpenFile file(files_, files_.open(path, O_RDONLY, 0));
  if (!file) throw_file_error(path, "open", errno);
  File& known = file_named(name, file.get(), path);
  const std::int64_t size = file_size(files_, file.get(), path);
  if (size <= known.position.offset) return 0;
  // Only what is there now is synced, so only that counts: the writer may go on meanwhile.
  if (files_.sync_data(file.get()) != 0) throw_file_error(path, "sync", errno);
  std::size_t added = 0;
  known.position =
      scan_journal(files_, file.get(), path, size, known.position, [&](const RecordPlace& place) {
        add(place, known.number);
        ++added;
      });
  known.torn = {path, size - known.position.offset, 0};
  if (known.torn.bytes > 0)
    known.torn.records = records_announced(files_, file.get(), path, known.position.offset);
  return added;
}

// The file's entry; one that is new has its header checked first.
JournalIndex::File& JournalIndex::file_named(const std::string& name, int fd,
                                             const std::filesystem::path& path) {
  const auto known = known_.find(name);
  if (known != known_.end()) return known->second;
  std::string header(kJournalHeaderBytes, '\0');
  if (!read_fully(files_, fd, path, header.data(), header.size(), 0)) header.clear();
  check_journal_header(header, path, identity_);
  names_.push_back(name);
  return known_.emplace(name, File{static_cast<std::uint32_t>(names_.size() - 1), {}, {path, 0, 0}})
      .first->second;
}

std::vector<TornEnd> JournalIndex::torn_ends() const {
  std::vector<TornEnd> ends;
  for (const auto& [name, file] : known_)
    if (file.torn.bytes > 0) ends.push_back(file.torn);
  return ends;
}

void JournalIndex::add(const RecordPlace& place, std::uint32_t file) {
  const auto [entry, is_new] = units_.try_emplace(place.unit, Entry{place, file});
  if (is_new) return;
  const int now = importance(place.type), before = importance(entry->second.place.type);
  if (now > before || (now == before && is_flawed(place.type))) entry->second = {place, file};
}

const RecordPlace* JournalIndex::find(const UnitKey& unit) const {
  const auto entry = units_.find(unit);
  return entry == units_.end() ? nullptr : &entry->second.place;
}

JournalRecord JournalIndex::read(const UnitKey& unit) const {
  return read(units_.at(unit));
}

JournalRecord JournalIndex::read(const Entry& entry) const {
  const std::filesystem::path path = directory_ / names_[entry.file];
  // The whole record, to compare it with one made anew from what the index knows.
  std::string record(kRecordBytes + entry.place.bytes, '\0');
  const std::int64_t start = entry.place.offset - static_cast<std::int64_t>(kRecordHeaderBytes);
  const bool complete =
      read_fully(files_, descriptor(entry.file), path, record.data(), record.size(), start);
  JournalRecord result{entry.place.type, entry.place.unit.unit,
                       record.substr(kRecordHeaderBytes, entry.place.bytes),
                       entry.place.unit.selection};
  std::string expected;
  append_record(expected, result.type, entry.place.unit, result.payload);
  if (!complete || expected != record)
    throw RunError(
        fmt::format("{}: the record of unit {} at byte {} has changed since it was first read; "
                    "check the disk and give the same command again",
                    path.string(), result.unit, start));
  return result;
}

int JournalIndex::descriptor(std::uint32_t file) const {
  if (const auto open = open_.find(file); open != open_.end()) return open->second.get();
  if (open_.size() >= kMostOpenFiles) open_.clear();
  const std::filesystem::path path = directory_ / names_[file];
  OpenFile handle(files_, files_.open(path, O_RDONLY, 0));
  if (!handle) throw_file_error(path, "open", errno);
  return open_.emplace(file, std::move(handle)).first->second.get();
}

void JournalIndex::for_each(const std::function<void(const JournalRecord&)>& visit) const {
  std::vector<UnitKey> order;
  order.reserve(units_.size());
  for (const auto& [unit, entry] : units_) order.push_back(unit);
  std::sort(order.begin(), order.end());
  for (const UnitKey& unit : order) visit(read(unit));
}

std::size_t JournalIndex::count(RecordType type) const {
  return static_cast<std::size_t>(
      std::count_if(units_.begin(), units_.end(),
                    [&](const auto& unit) { return unit.second.place.type == type; }));
}

JournalPosition JournalIndex::position(const std::string& writer) const {
  const auto known = known_.find(writer + std::string(kSuffix));
  return known == known_.end() ? JournalPosition{} : known->second.position;
}

Journal::Journal(FileOperations& files, const std::filesystem::path& directory,
                 std::string_view identity, const std::string& writer, const JournalIndex& index)
    : files_(files),
      path_(directory / (writer + std::string(kSuffix))),
      identity_(identity),
      position_(index.position(writer)) {
  open();
  clear();
}

Journal::Journal(FileOperations& files, std::filesystem::path directory, std::string identity,
                 const std::string& writer, std::function<void()> before_opening)
    : files_(files),
      path_(std::move(directory) / (writer + std::string(kSuffix))),
      identity_(std::move(identity)),
      before_opening_(std::move(before_opening)) {
  clear();
}

void Journal::open() {
  if (before_opening_) before_opening_();
  make_directories(files_, path_.parent_path());
  OpenFile file(files_, files_.open(path_, O_RDWR | O_APPEND, 0));
  if (!file && errno == ENOENT) {
    create();
    file = OpenFile(files_, files_.open(path_, O_RDWR | O_APPEND, 0));
  }
  if (!file) throw_file_error(path_, "open", errno);
  // Other errors mean that this file system has no such locks; the run lock remains.
  if (files_.lock(file.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    throw RunError(fmt::format("{}: another process is writing this journal; wait for it to end",
                               path_.string()));
  cut_torn_end(file.get());
  file_ = std::move(file);
}

void Journal::create() {
  const std::filesystem::path fresh =
      path_.parent_path() / ("." + path_.filename().string() + kHalf);
  if (files_.unlink(fresh) != 0 && errno != ENOENT) throw_file_error(fresh, "remove", errno);
  write_new_file(files_, fresh, encode_journal_header(identity_));
  if (files_.rename(fresh, path_) != 0) throw_file_error(path_, "create", errno);
  sync_directory(files_, path_.parent_path());
}

void Journal::cut_torn_end(int fd) {
  if (file_size(files_, fd, path_) == position_.offset) return;
  if (files_.truncate(fd, position_.offset) != 0)
    throw_file_error(path_, "cut the torn end of", errno);
  if (files_.sync_all(fd) != 0) throw_file_error(path_, "sync", errno);
}

void Journal::clear() {
  if (frame_.capacity() > kKeptBuffer) frame_ = std::string();
  frame_.assign(kFrameHeaderBytes, '\0');
  pending_records_ = 0;
}

void Journal::append(RecordType type, const UnitKey& unit, std::string_view payload) {
  append_record(frame_, type, unit, payload);
  ++pending_records_;
}

void Journal::commit() {
  if (pending_records_ == 0) return;
  if (broken_)
    throw RunError(fmt::format("{}: takes nothing more after an earlier failure", path_.string()));
  if (!file_) open();
  broken_ = true;  // until all went well
  const auto header = encode_frame_header(
      {pending_records_, position_.sequence + 1, frame_.size() - kFrameHeaderBytes});
  std::memcpy(frame_.data(), header.data(), header.size());
  try {
    write_fully(files_, file_.get(), path_, frame_);
  } catch (const RunError&) {
    // Only tidiness: what is left of the frame would be cut at the next start.
    files_.truncate(file_.get(), position_.offset);
    throw;
  }
  // After a failed sync nobody knows what is on disk, and a second one would lie; the next start
  // reads it back.
  if (files_.sync_data(file_.get()) != 0) throw_file_error(path_, "sync", errno);
  position_ = {position_.offset + static_cast<std::int64_t>(frame_.size()), position_.sequence + 1};
  clear();
  broken_ = false;
}

}  // namespace factflow
