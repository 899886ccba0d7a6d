#include "pipeline/coordination/run_lock.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include "pipeline/coordination/unit_claims.hpp"

namespace factflow {
namespace {

constexpr int kAttempts = 20;
constexpr std::chrono::milliseconds kPause{20};
constexpr const char* kLock = "run.lock";
constexpr const char* kClaims = "claims";
constexpr const char* kOwnerPrefix = "owner-";
constexpr const char* kCandidatePrefix = ".run.lock.";

}  // namespace

std::filesystem::path claims_directory(const std::filesystem::path& directory) {
  return directory / kClaims;
}

std::vector<SeenOwner> owners_of(const std::filesystem::path& directory) {
  std::vector<SeenOwner> owners;
  if (const auto holder = see_owner(directory / kLock)) owners.push_back(*holder);
  std::vector<std::string> names;
  const std::filesystem::path claims = claims_directory(directory);
  if (system_files().list(claims, &names) != 0 && errno != ENOENT)
    throw_file_error(claims, "list", errno);
  std::vector<SeenOwner> sharing;
  for (const std::string& name : names) {
    if (!name.starts_with(kOwnerPrefix)) continue;
    if (auto one = see_owner(claims / name)) {
      one->shares = true;
      sharing.push_back(std::move(*one));
    }
  }
  std::sort(sharing.begin(), sharing.end(), [](const SeenOwner& a, const SeenOwner& b) {
    return std::pair(a.owner.started, a.owner.token) < std::pair(b.owner.started, b.owner.token);
  });
  owners.insert(owners.end(), sharing.begin(), sharing.end());
  return owners;
}

bool is_lock_name(const std::string& name) {
  return name == kClaims || name == kLock || name == kLock + std::string(".removal") ||
         name.starts_with(kCandidatePrefix);
}

bool is_claim_name(const std::string& name) {
  return name.starts_with(kOwnerPrefix) || name.starts_with(std::string(".") + kOwnerPrefix) ||
         name.starts_with(kClaimPrefix);
}

RunLock::RunLock(FileOperations& files, std::filesystem::path directory, Mode mode,
                 const Options& options)
    : files_(files), directory_(std::move(directory)), options_(options) {
  make_directories(files_, directory_);
  if (mode == Mode::kExclusive)
    lock_exclusive();
  else
    lock_shared();
  hold_in_kernel();
  heartbeat_ = std::thread([this] { beat(); });
}

RunLock::~RunLock() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  heartbeat_.join();
  // A lock that cannot be given back is stale from now on, which the next launch finds out.
  try {
    give_back();
  } catch (const RunError&) {
  }
}

// Between the look and the removal nobody takes it: it is fresh.
void RunLock::give_back() {
  const std::optional<Owner> now = decode_owner(read_small_file(files_, file_));
  if (now && now->token == owner_.token) files_.unlink(file_);
}

void RunLock::check() const {
  if (!held_)
    throw RunError(
        fmt::format("{}: another launch has taken over this run while this process did not answer; "
                    "finished work is kept",
                    file_.string()));
}

void RunLock::lock_exclusive() {
  file_ = directory_ / kLock;
  const std::filesystem::path own = directory_ / (kCandidatePrefix + owner_.token);
  write_new_file(files_, own, encode_owner(owner_));
  try {
    link_exclusive(own);
    refuse_sharers();
  } catch (...) {
    give_back();
    files_.unlink(own);
    throw;
  }
  files_.unlink(own);
  remove_leftovers(directory_, kCandidatePrefix);
}

// The link appears with its content and for one process only, on network file systems too.
void RunLock::link_exclusive(const std::filesystem::path& own) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const bool linked = files_.link(own, file_) == 0;
    if (!linked && errno != EEXIST) throw_file_error(file_, "lock (this needs hard links)", errno);
    const HolderState holder = look_at_holder(files_, file_, own, options_.stale_after);
    // Also after EEXIST: NFS may repeat a request that had succeeded.
    if (holder.exists && holder.token == owner_.token) return;
    if (holder.exists && holder.alive) refuse(holder.description);
    if (holder.exists && !remove_stale(files_, file_, holder.token, own, options_.stale_after))
      std::this_thread::sleep_for(kPause);
  }
  refuse("several launches that started at the same moment");
}

void RunLock::refuse_sharers() {
  const std::filesystem::path claims = claims_directory(directory_);
  std::vector<std::string> names;
  if (files_.list(claims, &names) != 0) {
    if (errno == ENOENT) return;
    throw_file_error(claims, "list", errno);
  }
  for (const std::string& name : names) {
    if (!name.starts_with(kOwnerPrefix)) continue;
    const HolderState holder = look_at_holder(files_, claims / name, file_, options_.stale_after);
    if (holder.exists && holder.alive) refuse(holder.description);
  }
  // What dead sharers claimed is free again.
  for (const std::string& name : names)
    if (is_claim_name(name)) files_.unlink(claims / name);
}

void RunLock::lock_shared() {
  const std::filesystem::path claims = claims_directory(directory_);
  make_directories(files_, claims);
  file_ = claims / (kOwnerPrefix + owner_.token);
  // Under another name first: an owner's file is whole or not there.
  const std::filesystem::path fresh = claims / ("." + file_.filename().string());
  write_new_file(files_, fresh, encode_owner(owner_));
  if (files_.rename(fresh, file_) != 0) throw_file_error(file_, "create", errno);
  // First announced, then looked: of a sharer and an exclusive holder that start together at least
  // one sees the other.
  const HolderState holder =
      look_at_holder(files_, directory_ / kLock, file_, options_.stale_after);
  if (holder.exists && holder.alive) {
    files_.unlink(file_);
    refuse(holder.description);
  }
}

void RunLock::remove_leftovers(const std::filesystem::path& directory, const std::string& prefix) {
  std::vector<std::string> names;
  if (files_.list(directory, &names) != 0) return;
  for (const std::string& name : names)
    if (name.starts_with(prefix) &&
        !look_at_holder(files_, directory / name, file_, options_.stale_after).alive)
      files_.unlink(directory / name);
}

void RunLock::refuse(const std::string& holder) const {
  throw BusyError(
      fmt::format("{}: is in use by {}; wait for it to end, or choose another output directory",
                  directory_.string(), holder));
}

// In addition: where flock works it also covers process numbers that cannot be compared
// (containers) and long pauses.
void RunLock::hold_in_kernel() {
  kernel_lock_ = OpenFile(files_, files_.open(file_, O_RDWR, 0));
  if (kernel_lock_) files_.lock(kernel_lock_.get(), LOCK_EX | LOCK_NB);
}

void RunLock::beat() {
  std::unique_lock lock(mutex_);
  while (!stop_.wait_for(lock, options_.heartbeat, [this] { return stopping_; })) {
    lock.unlock();
    try {
      const std::optional<Owner> now = decode_owner(read_small_file(files_, file_));
      if (!now || now->token != owner_.token) held_ = false;
      if (held_) files_.touch(file_);
    } catch (const RunError&) {
      // The file system does not answer now. If that lasts, another launch takes the lock, and a
      // later beat sees it.
    }
    lock.lock();
  }
}

}  // namespace factflow
