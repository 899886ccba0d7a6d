#include "pipeline/run/found_checkpoints.hpp"

#include <algorithm>
#include <set>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/architecture.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "model/checkpoint/hub_cache.hpp"

namespace factflow {
namespace {

namespace fs = std::filesystem;

constexpr int kDeepest = 3;
constexpr std::string_view kCachedModel = "models--";

bool is_checkpoint(const std::string& source) {
  try {
    std::error_code error;
    return fs::exists(Checkpoint::resolve(source) / "config.json", error) &&
           Checkpoint::has_weights(source);
  } catch (const InputError&) {
    return false;
  }
}

}  // namespace

std::vector<fs::path> checkpoints_below(const fs::path& root) {
  std::set<fs::path> found;
  std::error_code error;
  if (is_checkpoint(root.string())) found.insert(root.lexically_normal());
  for (fs::recursive_directory_iterator
           entry(root, fs::directory_options::skip_permission_denied, error),
       end;
       !error && entry != end; entry.increment(error)) {
    if (entry.depth() >= kDeepest || entry->path().filename().string().starts_with('.'))
      entry.disable_recursion_pending();
    if (entry->path().filename() == "config.json" &&
        Checkpoint::has_weights(entry->path().parent_path().string()))
      found.insert(entry->path().parent_path().lexically_normal());
  }
  return {found.begin(), found.end()};
}

// models--ORG--NAME; an organisation has no "--" in its name, a model may.
std::vector<std::string> checkpoints_in_hub_cache() {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator entry(hub_cache_root(), error), end; !error && entry != end;
       entry.increment(error)) {
    std::string name = entry->path().filename().string();
    if (!name.starts_with(kCachedModel)) continue;
    name.erase(0, kCachedModel.size());
    const size_t dashes = name.find("--");
    if (dashes == std::string::npos) continue;
    const std::string source =
        fmt::format("hf:{}/{}", name.substr(0, dashes), name.substr(dashes + 2));
    if (is_checkpoint(source)) found.push_back(source);
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::string checkpoint_in_words(const std::string& source) {
  const Architecture architecture = read_architecture(Checkpoint::read_config(source),
                                                      Checkpoint::resolve(source) / "config.json");
  return fmt::format("{}, {}, hidden {}", architecture.family,
                     counted(static_cast<std::uint64_t>(architecture.layers), "layer"),
                     architecture.hidden);
}

}  // namespace factflow
