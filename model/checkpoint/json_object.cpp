#include "model/checkpoint/json_object.hpp"

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/json_text.hpp"

namespace factflow {

nlohmann::json parse_json_object(std::string_view text, const std::string& where,
                                 size_t max_depth) {
  if (text.empty())
    throw InputError(where, "is empty, expected a JSON object", "download it again");
  nlohmann::json value =
      parse_json_text(text, where, {.max_depth = max_depth, .unique_keys = true});
  if (!value.is_object())
    throw InputError(where, fmt::format("holds a JSON {}, expected an object", value.type_name()));
  return value;
}

}  // namespace factflow
