#include "pipeline/coordination/unit_claims.hpp"

#include <cerrno>

#include <fmt/format.h>

#include "base/error.hpp"

namespace factflow {

UnitClaims::UnitClaims(FileOperations& files, const std::filesystem::path& directory,
                       const RunLock& lock, std::chrono::milliseconds stale_after)
    : files_(files),
      directory_(claims_directory(directory)),
      lock_(lock),
      stale_after_(stale_after) {}

UnitClaims::~UnitClaims() {
  for (const UnitKey& unit : held_) files_.unlink(path(unit));
}

bool UnitClaims::claim(const UnitKey& unit) {
  if (held_.contains(unit)) return true;
  const std::filesystem::path name = path(unit);
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (files_.link(lock_.file(), name) == 0) {
      held_.insert(unit);
      return true;
    }
    if (errno != EEXIST) throw_file_error(name, "claim", errno);
    const HolderState holder = look_at_holder(files_, name, lock_.file(), stale_after_);
    if (holder.exists && holder.token == lock_.token()) {
      held_.insert(unit);
      return true;
    }
    if (holder.exists && holder.alive) return false;
    if (holder.exists && !remove_stale(files_, name, holder.token, lock_.file(), stale_after_))
      return false;
  }
  return false;
}

void UnitClaims::release(const UnitKey& unit) {
  if (held_.erase(unit) == 0) return;
  const std::filesystem::path name = path(unit);
  if (files_.unlink(name) != 0 && errno != ENOENT && errno != ESTALE)
    throw_file_error(name, "release", errno);
}

std::filesystem::path UnitClaims::path(const UnitKey& unit) const {
  std::string name = fmt::format("{}{:016x}", kClaimPrefix, unit.unit);
  if (unit.selection != 0) name += fmt::format("-{:016x}", unit.selection);
  return directory_ / name;
}

}  // namespace factflow
