#include "base/paths.hpp"

#include <cstdlib>
#include <optional>
#include <string_view>
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

// Of a variable's name, in Python's ASCII \w.
bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// A variable's mention at the beginning of a text; size 0 if there is none.
struct Mention {
  size_t size = 0;
  std::string name;
};

Mention mention_at(std::string_view text) {
  if (text.size() < 2 || text[0] != '$') return {};
  size_t end = 1;
  if (text[1] == '{') {
    end = text.find('}');
    return end == text.npos ? Mention{} : Mention{end + 1, std::string(text.substr(2, end - 2))};
  }
  while (end < text.size() && is_word(text[end])) ++end;
  return end == 1 ? Mention{} : Mention{end, std::string(text.substr(1, end - 1))};
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

std::string with_variables(const std::string& path) {
  std::string expanded;
  for (size_t at = 0; at < path.size();) {
    const Mention mention = mention_at(std::string_view(path).substr(at));
    const char* value = mention.size > 0 ? std::getenv(mention.name.c_str()) : nullptr;
    const size_t size = mention.size > 0 ? mention.size : 1;
    expanded += value != nullptr ? value : path.substr(at, size);
    at += size;
  }
  return expanded;
}

bool is_remote(const std::string& source) {
  return source.starts_with("hf:") || source.find("://") != std::string::npos;
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
