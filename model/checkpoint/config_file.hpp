// config.json of a checkpoint directory.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace factflow {

struct ConfigFile {
  std::string text;  // as it is on disk
  // An object; non-finite numbers are doubles (dump() would print them as null).
  nlohmann::json value;
};

// transformers 5 writes Infinity, -Infinity and NaN, which JSON does not know, as
// {"__float__": "Infinity"}, Python's json writes them bare. Both are read. Throws InputError.
ConfigFile read_config_file(const std::filesystem::path& directory);

nlohmann::json parse_config(std::string_view text, const std::string& where);  // throws InputError

}  // namespace factflow
