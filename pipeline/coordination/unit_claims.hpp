// Units shared by independent processes on one directory (array jobs without MPI between them): a
// unit is computed by the process that holds DIR/claims/unit-ID. Claims save work, they do not
// guard the results: should two processes compute one unit after all, the journals hold it twice
// and the first counts.
#pragma once

#include <unordered_set>

#include "pipeline/coordination/run_lock.hpp"
#include "pipeline/coordination/unit_key.hpp"

namespace factflow {

inline constexpr const char* kClaimPrefix = "unit-";  // of names in DIR/claims

// One thread at a time.
class UnitClaims {
 public:
  // `lock` is the shared lock of this process on `directory`; it must outlive the claims. Every
  // claim is a hard link to its file, so that one heartbeat keeps all claims of a process alive.
  UnitClaims(FileOperations& files, const std::filesystem::path& directory, const RunLock& lock,
             std::chrono::milliseconds stale_after = kOwnerStaleAfter);
  ~UnitClaims();
  UnitClaims(const UnitClaims&) = delete;
  UnitClaims& operator=(const UnitClaims&) = delete;

  // True if the unit is now (or was already) claimed by this process; also takes over the claim of
  // a dead one. The caller must then look once more into the journals: the unit may have been
  // finished a moment ago.
  bool claim(const UnitKey& unit);
  // To be called after the unit's record was committed, or to let others have the unit.
  void release(const UnitKey& unit);

 private:
  std::filesystem::path path(const UnitKey& unit) const;

  FileOperations& files_;
  std::filesystem::path directory_;
  const RunLock& lock_;
  std::chrono::milliseconds stale_after_;
  std::unordered_set<UnitKey> held_;
};

}  // namespace factflow
