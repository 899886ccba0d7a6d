#include "pipeline/input/config_paths.hpp"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/paths.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

namespace fs = std::filesystem;

std::string folder_of(const Config& config) {
  return config.file.has_parent_path() ? config.file.parent_path().string() : ".";
}

// Takes in the text at `key` of a section, if it stands there and is a path.
void find_path(Config& config, const YamlNode* section, const std::string& place, const char* key,
               std::string& path) {
  const YamlNode* node = section == nullptr ? nullptr : section->find(key);
  if (node == nullptr || path.empty() || is_remote(path)) return;
  const std::string written = path;
  path = path_from(folder_of(config), written).string();
  config.paths.push_back({place + key, node->line, written, path});
}

// Entry `index` of a list that may stand as its only entry.
const YamlNode* entry_of(const YamlNode* list, size_t index) {
  if (list == nullptr || list->kind != YamlNode::Kind::kList) return list;
  return &list->items[index];
}

std::string place_of(const char* key, const YamlNode* list, size_t index) {
  const bool is_list = list != nullptr && list->kind == YamlNode::Kind::kList;
  return is_list ? fmt::format("{}[{}].", key, index) : fmt::format("{}.", key);
}

// Whether it could be the name of a model of the hub that lacks its hf:.
bool may_be_hub_name(const WrittenPath& path) {
  const std::string& text = path.written;
  return path.key.starts_with("models") && path.key.find('.') != std::string::npos &&
         std::count(text.begin(), text.end(), '/') == 1 && text.front() != '.' &&
         text.front() != '/' && text.front() != '~' && text.back() != '/';
}

// What to do about a path that is not there.
std::string remedy_for(const Config& config, const WrittenPath& path) {
  if (fs::path(path.written).is_absolute() || path.written.starts_with('~')) return "";
  const fs::path folder = path_from_here(folder_of(config)), here = path_from_here(path.written);
  std::error_code error;
  const std::string rule = "paths in a configuration are relative to its folder";
  if (here == path.path || !fs::exists(here, error))
    return fmt::format(
        "{}, {}{}", rule, folder.string(),
        may_be_hub_name(path)
            ? fmt::format("; a model of the Hugging Face cache is written hf:{}", path.written)
            : "");
  return fmt::format("{}, no longer to the working directory, from which it is there: write {}",
                     rule, here.lexically_relative(folder).string());
}

}  // namespace

void find_paths(Config& config, const YamlNode& root) {
  find_path(config, root.find("dataset"), "dataset.", "path", config.dataset.path);
  find_path(config, &root, "", "models_directory", config.models_directory);
  const YamlNode *models = root.find("models"), *sets = root.find("select");
  for (size_t i = 0; i < config.models.size(); ++i) {
    const std::string place = place_of("models", models, i);
    find_path(config, entry_of(models, i), place, "path", config.models[i].path);
    find_path(config, entry_of(models, i), place, "tokenizer", config.models[i].tokenizer);
  }
  for (size_t i = 0; i < config.select.size() && sets != nullptr; ++i)
    find_path(config, entry_of(sets, i), place_of("select", sets, i), "ids",
              config.select[i].ids_file);
}

void require_path(const Config& config, const std::string& path) {
  const auto written = std::find_if(config.paths.begin(), config.paths.end(),
                                    [&](const WrittenPath& one) { return one.path == path; });
  std::error_code error;
  if (written == config.paths.end() || fs::exists(path, error) || error) return;
  throw InputError(fmt::format("{}:{}: key {}", config.file.string(), written->line, written->key),
                   written->written == path ? fmt::format("there is no {}", path)
                                            : fmt::format("there is no {} (looked for {})",
                                                          in_quotes(written->written), path),
                   remedy_for(config, *written));
}

}  // namespace factflow
