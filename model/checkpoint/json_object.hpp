// JSON of checkpoints: one object, no key twice, limited depth (base/json_text.hpp).
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace factflow {

// Throws InputError(where, ...) with line and column for what is not JSON, and for a text that is
// not an object, holds a key twice in one object, or nests deeper than `max_depth`.
nlohmann::json parse_json_object(std::string_view text, const std::string& where, size_t max_depth);

}  // namespace factflow
