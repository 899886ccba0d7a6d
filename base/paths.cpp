#include "base/paths.hpp"

#include <cstdlib>
#include <optional>
#include <system_error>

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

namespace factflow {
namespace {

namespace fs = std::filesystem;

// "" = whoever runs the program.
std::optional<fs::path> home_of(const std::string& user) {
  if (const char* home = std::getenv("HOME"); user.empty() && home != nullptr && *home != '\0')
    return home;
  const passwd* entry = user.empty() ? ::getpwuid(::getuid()) : ::getpwnam(user.c_str());
  if (entry == nullptr || entry->pw_dir == nullptr) return std::nullopt;
  return entry->pw_dir;
}

bool leads_elsewhere(const fs::path& path, const fs::path& normal) {
  std::error_code missing, other;
  return fs::exists(path, missing) && !fs::equivalent(path, normal, other);
}

std::string working_directory() {
  std::error_code gone;
  const fs::path here = fs::current_path(gone);
  return gone ? "a working directory that is gone" : here.string();
}

}  // namespace

fs::path with_home(const fs::path& path) {
  const std::string text = path.string();
  if (!text.starts_with('~')) return path;
  const size_t slash = text.find('/');
  const std::optional<fs::path> home = home_of(text.substr(1, slash - 1));
  if (!home) return path;
  if (slash == std::string::npos) return *home;
  return *home / fs::path(text.substr(slash)).relative_path();
}

fs::path path_from(const fs::path& folder, const std::string& written) {
  std::error_code gone;
  const fs::path whole = folder / with_home(written);
  const fs::path absolute = whole.is_absolute() ? whole : fs::absolute(whole, gone);
  fs::path normal = absolute.lexically_normal();
  if (!normal.has_filename() && normal.has_relative_path()) normal = normal.parent_path();
  return leads_elsewhere(absolute, normal) ? absolute : normal;
}

fs::path path_from_here(const std::string& written) {
  return path_from(fs::path(), written);
}

std::string relative_to_what(const fs::path& path) {
  return path.is_absolute() ? "" : fmt::format(" (relative to {})", working_directory());
}

}  // namespace factflow
