// The float64 oracle's answers about interventions at sites (tests/oracle/README.md, "Sites").
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "model/intervention.hpp"

namespace factflow {

struct SiteRead {
  SiteAt at;
  int token = 0;
  std::optional<size_t>
      under;                   // of the run under this list of interventions; absent: the clean run
  std::vector<double> values;  // [width of the site]
};

struct SiteCase {
  std::vector<int> ids;
  int answer = 0;
  double clean = 0;  // probability of the answer in the clean run
  std::vector<std::vector<Intervention>> interventions;  // lists, each of what acts together
  std::vector<double> probabilities;                     // of the answer under each list
  std::vector<SiteRead> reads;
};

// Reads a site_cases.json. Throws InputError naming the file, the case and the key: for keys and
// words that are not known, lists that do not fit one another, tokens outside `vocabulary`.
std::vector<SiteCase> read_site_cases(const std::filesystem::path& path, int vocabulary);

// One intervention as the oracle writes it. Throws std::invalid_argument, or
// nlohmann::json::exception for values of another type.
Intervention parse_intervention(const nlohmann::json& object);

}  // namespace factflow
