// Small configurations of mixtures and of models with several kinds of mixers of tokens.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace factflow {

const std::vector<std::string>& small_hybrids();              // their names
nlohmann::json small_hybrid_config(const std::string& name);  // null if there is none

}  // namespace factflow
