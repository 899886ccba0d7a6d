// One launch per run directory. A lock that survives crashes: a dead holder is recognised and
// replaced.
//
//   DIR/run.lock             the exclusive holder, if there is one
//   DIR/claims/owner-TOKEN   one for each sharing process (independent array jobs)
//
// On the same machine the process table (and flock) says whether a holder lives; for a holder on
// another machine its heartbeat does, the modification time of its file, which it touches every few
// seconds. Needs a file system with hard links; NFS, Lustre and GPFS have them.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/error.hpp"
#include "base/exit_codes.hpp"
#include "pipeline/coordination/owner.hpp"

namespace factflow {

// Another living process holds the directory.
class BusyError : public Error {
 public:
  explicit BusyError(const std::string& line) : Error(kExitBusy, line) {}
};

class RunLock {
 public:
  enum class Mode { kExclusive, kShared };
  struct Options {
    std::chrono::milliseconds heartbeat = kOwnerHeartbeat;
    std::chrono::milliseconds stale_after = kOwnerStaleAfter;  // several times the heartbeat
  };

  // Creates `directory` if need be. Throws BusyError if another living process holds it (an
  // exclusive lock goes with nothing, shared ones with each other), RunError if the file system
  // fails.
  RunLock(FileOperations& files, std::filesystem::path directory, Mode mode,
          const Options& options);
  RunLock(FileOperations& files, std::filesystem::path directory, Mode mode)
      : RunLock(files, std::move(directory), mode, Options{}) {}
  ~RunLock();  // gives the lock back
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  // False if somebody else has taken the lock, because this process looked dead for `stale_after`
  // (it was suspended, or cut off from the file system): then it must write nothing more. Any
  // thread.
  bool held() const { return held_; }
  // Throws RunError if not held().
  void check() const;

  const std::filesystem::path& directory() const { return directory_; }
  const std::filesystem::path& file() const { return file_; }
  const std::string& token() const { return owner_.token; }

 private:
  void lock_exclusive();
  void lock_shared();
  void link_exclusive(const std::filesystem::path& own);
  void refuse_sharers();
  void remove_leftovers(const std::filesystem::path& directory, const std::string& prefix);
  [[noreturn]] void refuse(const std::string& holder) const;
  void hold_in_kernel();
  void give_back();
  void beat();

  FileOperations& files_;
  std::filesystem::path directory_;
  Options options_;
  Owner owner_ = Owner::self();
  std::filesystem::path file_;
  OpenFile kernel_lock_;
  std::atomic<bool> held_{true};
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::thread heartbeat_;
};

// Who holds the directory of a run, or held it and did not give it back: the exclusive holder, then
// those that share it, in the order of their start. Touches nothing. Throws RunError if the file
// system fails.
std::vector<SeenOwner> owners_of(const std::filesystem::path& directory);

// DIR/claims and the name of a sharing process in it.
std::filesystem::path claims_directory(const std::filesystem::path& directory);
// Whether this is the name of a lock, of what a lock leaves for a moment or after a crash, or of
// the directory of claims: what a launch puts into a directory before it has anything to keep.
bool is_lock_name(const std::string& name);
// Whether claims and sharing processes have such names in the directory of claims.
bool is_claim_name(const std::string& name);

}  // namespace factflow
