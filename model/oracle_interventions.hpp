// Interventions and reads as the float64 oracle writes them (tests/oracle/README.md, "Sites").
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "model/intervention.hpp"

namespace factflow {

// All throw std::invalid_argument for keys and words that are not known, and
// nlohmann::json::exception for what is missing or of another type.

// What was written and is not read would change the meaning without a word.
void allow_keys(const nlohmann::json& object, std::initializer_list<std::string_view> keys);
// The oracle takes lists of positions as sets: ascending, each once.
std::vector<int> parse_positions(const nlohmann::json& list);
Intervention parse_intervention(const nlohmann::json& object);

struct OracleRead {
  ReadAt read;                 // `under` the only run of a series
  std::vector<double> values;  // [width of the site]
};
OracleRead parse_read(const nlohmann::json& object);

}  // namespace factflow
