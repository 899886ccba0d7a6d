#include "model/checkpoint/hub_cache.hpp"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/paths.hpp"
#include "base/text.hpp"
#include "model/checkpoint/untrusted.hpp"

namespace factflow {
namespace {

namespace fs = std::filesystem;

struct HubModel {
  std::string name;      // "ORG/NAME"
  std::string revision;  // "" if none was given
};

constexpr size_t kHashDigits = 40;
constexpr size_t kShortestPrefix = 4;

bool is_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == text.npos;
}

// A name of one path component that cannot leave its directory.
bool is_plain(std::string_view part) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  return !part.empty() && part[0] != '.' && part.find_first_not_of(kAllowed) == part.npos;
}

// Are all '/'-separated parts plain, and at most `most` of them?
bool is_plain_path(std::string_view path, int most) {
  for (int parts = 1; parts <= most; ++parts) {
    const size_t slash = path.find('/');
    if (!is_plain(path.substr(0, slash))) return false;
    if (slash == path.npos) return true;
    path.remove_prefix(slash + 1);
  }
  return false;
}

HubModel parse_model(std::string_view text) {
  const std::string where = "hf:" + std::string(text);
  HubModel model;
  const size_t at = text.find('@');
  model.name = text.substr(0, at);
  if (!is_plain_path(model.name, 2))
    throw InputError(in_quotes(where), "is no model of the Hugging Face hub",
                     "expected hf:ORG/NAME or hf:ORG/NAME@REVISION");
  if (at == text.npos) return model;
  model.revision = text.substr(at + 1);
  if (!is_plain_path(model.revision, 8))
    throw InputError(in_quotes(where), "has no valid revision after the @",
                     "expected a branch, a tag or a commit hash");
  return model;
}

// As os.getenv: a variable that is set to nothing is set.
fs::path variable(const char* name, const fs::path& fallback) {
  const char* value = std::getenv(name);
  return value == nullptr ? fallback : fs::path(value);
}

fs::path expanded(const fs::path& path) {
  return with_variables(with_home(path).string());
}

// The commit that a branch or tag points at, if the cache knows it.
std::optional<std::string> commit_of_ref(const fs::path& repository, const std::string& revision) {
  const fs::path path = repository / "refs" / revision;
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return std::nullopt;
  std::string commit = read_file(path, 1024);
  commit.erase(
      std::find_if(commit.begin(), commit.end(), [](char c) { return c == '\n' || c == '\r'; }),
      commit.end());
  if (commit.size() != kHashDigits || !is_hex(commit))
    throw InputError(path.string(),
                     fmt::format("holds {}, expected a commit hash of {} digits", in_quotes(commit),
                                 kHashDigits),
                     "the cache is damaged: delete this model from it and download it again");
  return commit;
}

std::vector<std::string> snapshots_with_prefix(const fs::path& repository,
                                               const std::string& prefix) {
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(repository / "snapshots", ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && entry.is_directory(ignored)) found.push_back(name);
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

NotDownloaded::NotDownloaded(const std::string& where, const std::string& problem,
                             const std::string& command, const std::string& otherwise)
    : InputError(where, problem,
                 fmt::format("download it where there is a network: {}{}", command,
                             otherwise.empty() ? "" : ", or " + otherwise)),
      command_(command) {}

std::string download_command(std::string_view text) {
  const HubModel model = parse_model(text);
  std::string command = "hf download " + model.name;
  if (!model.revision.empty()) command += " --revision " + model.revision;
  return command;
}

fs::path hub_cache_root() {
  const fs::path user_cache = with_home("~") / ".cache";
  const fs::path home =
      expanded(variable("HF_HOME", variable("XDG_CACHE_HOME", user_cache) / "huggingface"));
  return expanded(variable("HF_HUB_CACHE", variable("HUGGINGFACE_HUB_CACHE", home / "hub")));
}

fs::path find_in_hub_cache(std::string_view text) {
  const HubModel model = parse_model(text);
  const std::string where = "hf:" + std::string(text);
  std::string folder = "models--" + model.name;
  if (const size_t slash = folder.find('/'); slash != folder.npos) folder.replace(slash, 1, "--");
  const fs::path repository = hub_cache_root() / folder;
  std::error_code ignored;
  if (!fs::is_directory(repository, ignored))
    throw NotDownloaded(
        where, fmt::format("is not in the Hugging Face cache (tried {})", repository.string()),
        download_command(text), "point HF_HUB_CACHE at the cache that holds it");

  const std::string revision = model.revision.empty() ? "main" : model.revision;
  std::vector<std::string> tried = {(repository / "refs" / revision).string()};
  const std::optional<std::string> commit = commit_of_ref(repository, revision);
  if (commit || (revision.size() >= kShortestPrefix && is_hex(revision))) {
    const std::string prefix = commit.value_or(revision);
    const std::vector<std::string> found = snapshots_with_prefix(repository, prefix);
    if (found.size() == 1) return repository / "snapshots" / found.front();
    if (found.size() > 1)
      throw InputError(
          where, fmt::format("the prefix {} fits several snapshots: {}", revision, join(found)),
          "give more digits of the hash");
    tried.push_back((repository / "snapshots" / prefix).string());
  }
  throw NotDownloaded(
      where,
      fmt::format("has no revision {} in the Hugging Face cache (tried {})", revision, join(tried)),
      download_command(text));
}

}  // namespace factflow
