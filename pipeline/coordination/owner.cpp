#include "pipeline/coordination/owner.hpp"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <fstream>
#include <random>
#include <sstream>

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/text.hpp"

namespace factflow {
namespace {

// Facts about this machine come from /proc, not from the run directory, so they do not pass through
// FileOperations.
std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string this_machine() {
  std::error_code ignored;
  const std::string space = std::filesystem::read_symlink("/proc/self/ns/pid", ignored).string();
  return first_line("/proc/sys/kernel/random/boot_id") + " " + space;
}

// Field 22 of /proc/PID/stat; 0 if there is no such process or it is a zombie.
std::uint64_t start_of_process(std::int64_t process) {
  const std::string line = first_line(fmt::format("/proc/{}/stat", process).c_str());
  const std::size_t name_end = line.rfind(')');  // the name may hold spaces and brackets
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(line.substr(name_end + 1));
  std::string state, skipped;
  fields >> state;
  if (state == "Z" || state == "X") return 0;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  std::uint64_t start = 0;
  fields >> start;
  return start;
}

std::string random_token() {
  std::random_device device;
  return fmt::format("{:08x}{:08x}", device(), device());
}

double seconds_of(const struct timespec& time) {
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// A lock held through the kernel proves life on every file system that has such locks.
bool locked_by_kernel(FileOperations& files, int fd) {
  if (files.lock(fd, LOCK_SH | LOCK_NB) != 0) return errno == EWOULDBLOCK;
  files.lock(fd, LOCK_UN);
  return false;
}

double modification_time(FileOperations& files, const std::filesystem::path& path) {
  const OpenFile file(files, files.open(path, O_RDONLY, 0));
  struct stat status {};
  if (!file || files.status(file.get(), &status) != 0) throw_file_error(path, "look at", errno);
  return seconds_of(status.st_mtim);
}

}  // namespace

Owner Owner::self() {
  char host[256] = "";
  ::gethostname(host, sizeof(host) - 1);
  Owner owner;
  owner.token = random_token();
  owner.host = host;
  owner.machine = this_machine();
  owner.process = ::getpid();
  owner.process_start = start_of_process(owner.process);
  owner.started = fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", fmt::gmtime(std::time(nullptr)));
  return owner;
}

std::string encode_owner(const Owner& owner) {
  return nlohmann::json{{"token", owner.token},
                        {"host", owner.host},
                        {"machine", owner.machine},
                        {"process", owner.process},
                        {"process_start", owner.process_start},
                        {"started", owner.started}}
             .dump() +
         "\n";
}

std::optional<Owner> decode_owner(const std::string& text) {
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    Owner owner;
    json.at("token").get_to(owner.token);
    json.at("host").get_to(owner.host);
    json.at("machine").get_to(owner.machine);
    json.at("process").get_to(owner.process);
    json.at("process_start").get_to(owner.process_start);
    json.at("started").get_to(owner.started);
    return owner;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

std::string describe(const Owner& owner) {
  return fmt::format("process {} on {}, started {}", owner.process, owner.host, owner.started);
}

HolderState look_at_holder(FileOperations& files, const std::filesystem::path& path,
                           const std::filesystem::path& reference,
                           std::chrono::milliseconds stale_after) {
  const OpenFile file(files, files.open(path, O_RDONLY, 0));
  if (!file) {
    if (errno != ENOENT && errno != ESTALE) throw_file_error(path, "open", errno);
    return {};
  }
  HolderState state{true, true, "", "an unknown process"};
  const std::optional<Owner> owner = decode_owner(read_small_file(files, path));
  if (owner) {
    state.token = owner->token;
    state.description = describe(*owner);
  }
  if (locked_by_kernel(files, file.get())) return state;
  if (owner && owner->machine == this_machine()) {
    const std::uint64_t start = start_of_process(owner->process);
    state.alive = start != 0 && start == owner->process_start;
    return state;
  }
  struct stat status {};
  if (files.status(file.get(), &status) != 0) throw_file_error(path, "look at", errno);
  if (files.touch(reference) != 0) throw_file_error(reference, "touch", errno);
  const double silence = modification_time(files, reference) - seconds_of(status.st_mtim);
  state.alive = silence < std::chrono::duration<double>(stale_after).count();
  state.description +=
      fmt::format(", last sign of life {} ago", format_duration(std::max(silence, 0.0)));
  return state;
}

std::optional<SeenOwner> see_owner(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    if (errno == ENOENT || errno == ESTALE) return std::nullopt;
    throw_file_error(path, "look at", errno);
  }
  SeenOwner seen;
  seen.description = "an unknown process";
  const std::optional<Owner> owner = decode_owner(read_small_file(system_files(), path));
  struct timespec now {};
  ::clock_gettime(CLOCK_REALTIME, &now);
  seen.silence = std::max(seconds_of(now) - seconds_of(status.st_mtim), 0.0);
  seen.alive = seen.silence < std::chrono::duration<double>(kOwnerStaleAfter).count();
  if (!owner) return seen;
  seen.owner = *owner;
  seen.description = describe(*owner);
  seen.here = owner->machine == this_machine();
  if (seen.here) {
    const std::uint64_t start = start_of_process(owner->process);
    seen.alive = start != 0 && start == owner->process_start;
  } else {
    seen.description += fmt::format(", last sign of life {} ago", format_duration(seen.silence));
  }
  return seen;
}

bool remove_stale(FileOperations& files, const std::filesystem::path& path,
                  const std::string& dead_token, const std::filesystem::path& own,
                  std::chrono::milliseconds stale_after) {
  const std::filesystem::path guard = path.string() + ".removal";
  if (files.link(own, guard) != 0) {
    if (errno != EEXIST) throw_file_error(guard, "create", errno);
    const HolderState remover = look_at_holder(files, guard, own, stale_after);
    if (remover.exists && !remover.alive) files.unlink(guard);  // it died at this very point
    return false;
  }
  try {
    const HolderState now = look_at_holder(files, path, own, stale_after);
    const bool still_dead = now.exists && !now.alive && now.token == dead_token;
    if (still_dead && files.unlink(path) != 0 && errno != ENOENT)
      throw_file_error(path, "remove the stale", errno);
    files.unlink(guard);
    return still_dead;
  } catch (...) {
    files.unlink(guard);
    throw;
  }
}

}  // namespace factflow
