#include "workers/device_memory.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include <sys/resource.h>
#include <sys/sysinfo.h>

#include "model/device.hpp"

namespace factflow {
namespace {

constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max();

std::int64_t of_the_machine() {
  struct sysinfo info {};
  if (::sysinfo(&info) != 0) return kNoLimit;
  return static_cast<std::int64_t>(info.totalram + info.totalswap) *
         static_cast<std::int64_t>(info.mem_unit);
}

std::int64_t of_the_process(__rlimit_resource resource) {
  struct rlimit limit {};
  if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kNoLimit;
  return static_cast<std::int64_t>(std::min<rlim_t>(limit.rlim_cur, kNoLimit));
}

// A file with one number; "max", nonsense and no file are no limit.
std::int64_t limit_in(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::string text;
  stream >> text;
  std::int64_t limit = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), limit);
  return error == std::errc() && limit > 0 ? limit : kNoLimit;
}

// A group's limit holds for all groups below it.
std::int64_t of_group(const std::filesystem::path& root, std::filesystem::path group,
                      const char* file) {
  std::int64_t limit = limit_in(root / file);
  for (group = group.relative_path(); !group.empty(); group = group.parent_path())
    limit = std::min(limit, limit_in(root / group / file));
  return limit;
}

// Lines "0::/GROUP" (version 2) and "N:memory:/GROUP" (version 1).
std::int64_t of_control_groups() {
  std::ifstream groups("/proc/self/cgroup");
  std::int64_t limit = kNoLimit;
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1),
                      group = line.substr(second + 1);
    if (controllers.empty())
      limit = std::min(limit, of_group("/sys/fs/cgroup", group, "memory.max"));
    else if (controllers == "memory")
      limit = std::min(limit, of_group("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes"));
  }
  return limit;
}

}  // namespace

std::int64_t device_memory(at::Device gpu) {
  // Three quarters of what nothing else takes.
  return activation_memory(gpu, 0) / 3 * 4;
}

std::int64_t host_memory() {
  return std::min({of_the_machine(), of_the_process(RLIMIT_AS), of_the_process(RLIMIT_DATA),
                   of_control_groups()});
}

}  // namespace factflow
