// Names at the root of a results file that are no models.
#pragma once

#include <algorithm>
#include <iterator>
#include <string_view>

namespace factflow {

inline constexpr std::string_view kReservedGroups[] = {"prompts", "failures"};

inline bool is_reserved_group(std::string_view name) {
  return std::find(std::begin(kReservedGroups), std::end(kReservedGroups), name) !=
         std::end(kReservedGroups);
}

}  // namespace factflow
