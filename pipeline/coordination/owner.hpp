// Who holds a lock or a claim in a run directory, and whether that process still lives: the common
// part of run_lock.hpp and unit_claims.hpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/file_operations.hpp"

namespace factflow {

// Written as JSON into lock files, for people too. `machine` names one boot of one machine and one
// process namespace: in it, and only in it, the process number says whether the holder lives.
struct Owner {
  std::string token;  // unique to one lock
  std::string host;
  std::string machine;  // boot id and pid namespace
  std::int64_t process = 0;
  // Clock ticks since boot: tells a later process of the same number apart.
  std::uint64_t process_start = 0;
  std::string started;  // UTC, for people

  static Owner self();
};

std::string encode_owner(const Owner& owner);
std::optional<Owner> decode_owner(const std::string& text);  // empty if it is not one

// "process 4711 on node17, started 2024-05-01 10:00:00 UTC"
std::string describe(const Owner& owner);

// How long a file's modification time may lag behind before the holder on another machine counts as
// dead. Holders touch theirs every kHeartbeat.
inline constexpr std::chrono::seconds kOwnerHeartbeat{5};
inline constexpr std::chrono::seconds kOwnerStaleAfter{90};

// What is known of the holder of the lock file `path`.
struct HolderState {
  bool exists = false;      // is there a lock file at all
  bool alive = false;       // its process lives, or may do so
  std::string token;        // as found in the file; "" if it could not be understood
  std::string description;  // for a message
};

// `reference`: a file of our own in the same directory. It is touched to read the file system's own
// clock, because the clocks of two hosts may differ.
HolderState look_at_holder(FileOperations& files, const std::filesystem::path& path,
                           const std::filesystem::path& reference,
                           std::chrono::milliseconds stale_after);

// The same for people who only ask: nothing is touched and no lock taken, so that what is seen of
// another machine goes by this machine's clock. Nothing where there is no lock file.
struct SeenOwner {
  Owner owner;          // empty strings if the file could not be understood
  bool alive = false;   // its process lives, or, on another machine, gave a sign of life lately
  bool here = false;    // it is or was a process of this machine
  bool shares = false;  // with other launches (run_lock.hpp)
  double silence = 0;   // seconds since its last sign of life
  std::string description;
};
std::optional<SeenOwner> see_owner(const std::filesystem::path& path);

// Removes the lock file of a dead holder. Of several processes that saw it dead one does so at a
// time, and it looks again first; the others, and one that finds something else by then, get false.
// `own`: as `reference` above.
bool remove_stale(FileOperations& files, const std::filesystem::path& path,
                  const std::string& dead_token, const std::filesystem::path& own,
                  std::chrono::milliseconds stale_after);

}  // namespace factflow
