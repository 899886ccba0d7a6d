// The answers of the float64 oracle (tests/oracle/README.md) as requests to the replay engine.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "model/architecture.hpp"
#include "model/precision.hpp"
#include "model/replay/replay.hpp"

namespace factflow {

enum class OracleKind {
  kKnockouts,  // cases.json
  kAtSites,    // site_cases.json: interventions and reads
  kLocating    // locate_cases.json (model/locate_cases.hpp), of which probabilities have a floor
};

struct OracleCase {
  OracleKind kind = OracleKind::kKnockouts;
  ReplayRequest request;  // one series as written per answer
  double clean = 0;       // probability of the answer in the clean run
  // Per series the ordinals of the mixers of tokens in its layers; empty: the file has none.
  std::vector<std::vector<int>> mixers;
  // [vocabulary] after the last token of the clean run; empty if the file has none.
  std::vector<double> clean_logits;
  std::vector<double> probabilities;       // per series
  std::vector<std::int64_t> edges;         // that each series blocks; empty if the file has none
  std::vector<std::vector<double>> reads;  // per read of the request, [width of the site]
};

// Reads a cases.json or a site_cases.json, which it knows by their keys. Throws InputError naming
// the file and the case: for keys and words that are not known, lists that do not fit one another,
// tokens outside `vocabulary`.
std::vector<OracleCase> read_oracle_cases(const std::filesystem::path& path, int vocabulary);

// Throws InputError naming `path` for a knockout whose `mixers` are not those of its layers.
void check_mixers(const std::vector<OracleCase>& cases, const Architecture& architecture,
                  const std::filesystem::path& path);

// |probability - expected| / (expected + 1e-6); infinite for NaN, so that no comparison passes it.
double oracle_error(double probability, double expected);
// The norm of the difference over the norm of what is expected; infinite for NaN or another width.
double read_error(const at::Tensor& value, const std::vector<double>& expected);
// How far the oracle's own program in float32 is from its answers, at worst over a family's cases
// of a kind (tests/oracle/noise_floors.json). 0: not measured.
double float32_floor(const std::string& family, OracleKind kind);

// The largest oracle_error that is right, and why: 1e-6 in fp64, max(1e-4, 3 x float32_floor) in
// fp32. Throws InputError for other precisions, which have no floor.
struct OracleTolerance {
  double value = 0;
  std::string reason;
  // The largest read_error likewise: 1e-6 in fp64, and in fp32 three times what the oracle's own
  // program is off at worst.
  double reads = 0;
};
OracleTolerance oracle_tolerance(const std::string& family, Precision precision,
                                 OracleKind kind = OracleKind::kKnockouts);

// The engine's probability for series `index` of a case. One without effect is the clean run.
double probability_of(const ReplayResult& result, size_t index);

}  // namespace factflow
