#include "model/checkpoint/config_file.hpp"

#include <limits>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/files.hpp"
#include "model/checkpoint/json_object.hpp"
#include "model/checkpoint/untrusted.hpp"

namespace factflow {
namespace {

constexpr size_t kLargestConfig = size_t{16} << 20;
constexpr size_t kMaxDepth = 64;
constexpr std::string_view kFloatKey = "__float__";

// The end of the string that begins at text[begin] == '"', or the end of the text.
size_t end_of_string(std::string_view text, size_t begin) {
  for (size_t i = begin + 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      return i + 1;
    }
  }
  return text.size();
}

// Bare Infinity, -Infinity and NaN outside strings, rewritten in the form that is JSON.
std::string in_strict_json(std::string_view text) {
  std::string strict;
  strict.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    size_t end = i + 1;
    if (text[i] == '"') end = end_of_string(text, i);
    std::string_view piece = text.substr(i, end - i);
    for (const std::string_view word : {"Infinity", "-Infinity", "NaN"})
      if (text.substr(i).starts_with(word)) piece = word;
    if (piece.size() > 1 && piece[0] != '"') {
      strict += fmt::format(R"({{"{}":"{}"}})", kFloatKey, piece);
    } else {
      strict += piece;
    }
    i += piece.size();
  }
  return strict;
}

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
  nlohmann::json value = parse_json_object(in_strict_json(text), where, kMaxDepth);
  for (nlohmann::json& part : value) resolve_floats(part, where);
  return value;
}

ConfigFile read_config_file(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored))
    throw InputError(directory.string(), "holds no config.json",
                     "expected a checkpoint directory as transformers or mamba_ssm saves it");
  std::string text = read_file(path, kLargestConfig);
  nlohmann::json value = parse_config(text, path.string());
  return {std::move(text), std::move(value)};
}

}  // namespace factflow
