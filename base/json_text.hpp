// The one reader of JSON: RFC 8259, and in addition NaN, Infinity and -Infinity as numbers, which
// Python's json module writes.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace factflow {

struct JsonRules {
  size_t max_depth = 64;     // what reads the result may recurse
  bool unique_keys = false;  // else the last of equal keys of an object counts
};

// Throws InputError(where, ...) with line and column for what is not JSON, for a number beyond
// float64, and for what the rules exclude. `remedy` goes with the first two.
nlohmann::json parse_json_text(std::string_view text, const std::string& where,
                               const JsonRules& rules = {}, const std::string& remedy = "");

// The same for a file, see text_file.hpp.
nlohmann::json read_json_file(const std::filesystem::path& path, size_t limit = size_t{1} << 30);

}  // namespace factflow
