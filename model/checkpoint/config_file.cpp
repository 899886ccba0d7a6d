#include "model/checkpoint/config_file.hpp"

#include <limits>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/text_file.hpp"
#include "model/checkpoint/foreign_files.hpp"
#include "model/checkpoint/json_object.hpp"
#include "model/checkpoint/untrusted.hpp"

namespace factflow {
namespace {

constexpr size_t kLargestConfig = size_t{16} << 20;
constexpr size_t kMaxDepth = 64;
constexpr std::string_view kFloatKey = "__float__";

// Recursion is bounded by kMaxDepth.
void resolve_floats(nlohmann::json& value, const std::string& where) {
  if (value.is_object() && value.size() == 1 && value.contains(kFloatKey)) {
    const nlohmann::json& word = value.begin().value();
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    if (word == "Infinity") {
      value = kInfinity;
    } else if (word == "-Infinity") {
      value = -kInfinity;
    } else if (word == "NaN") {
      value = std::numeric_limits<double>::quiet_NaN();
    } else {
      throw InputError(
          where, fmt::format("key {}: found {}, expected Infinity, -Infinity or NaN", kFloatKey,
                             in_quotes(word.is_string() ? word.get_ref<const std::string&>()
                                                        : word.type_name())));
    }
  } else if (value.is_structured()) {
    for (nlohmann::json& part : value) resolve_floats(part, where);
  }
}

}  // namespace

nlohmann::json parse_config(std::string_view text, const std::string& where) {
  nlohmann::json value = parse_json_object(text_in(text, where), where, kMaxDepth);
  for (nlohmann::json& part : value) resolve_floats(part, where);
  return value;
}

ConfigFile read_config_file(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored))
    refuse_directory(directory, "holds no config.json",
                     "expected a checkpoint directory as transformers or mamba_ssm saves it");
  std::string text = read_file(path, kLargestConfig);
  nlohmann::json value = parse_config(text, path.string());
  return {std::move(text), std::move(value)};
}

}  // namespace factflow
