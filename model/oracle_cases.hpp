// The answers of the float64 oracle (tests/oracle/README.md) as requests to the replay engine.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "model/precision.hpp"
#include "model/replay.hpp"

namespace factflow {

struct OracleCase {
  ReplayRequest request;  // one cut with one window per knockout
  double clean = 0;       // probability of the answer in the clean run
  // [vocabulary] after the last token of the clean run; empty if the file has none.
  std::vector<double> clean_logits;
  std::vector<double> probabilities;  // per knockout
};

// Reads a cases.json. Throws InputError naming the file and the case, also for tokens outside
// `vocabulary`.
std::vector<OracleCase> read_oracle_cases(const std::filesystem::path& path, int vocabulary);

// |probability - expected| / (expected + 1e-6); infinite for NaN, so that no comparison passes it.
double oracle_error(double probability, double expected);
// How far the oracle's own program in float32 is from its answers, at worst over a family's cases
// (tests/oracle/noise_floors.json). 0: not measured.
double float32_floor(const std::string& family);

// The largest oracle_error that is right, and why: 1e-6 in fp64, max(1e-4, 3 x float32_floor) in
// fp32. Throws InputError for other precisions, which have no floor.
struct OracleTolerance {
  double value = 0;
  std::string reason;
};
OracleTolerance oracle_tolerance(const std::string& family, Precision precision);

// The engine's probability for knockout `index` of a case. A knockout without an edge is the clean
// run.
double probability_of(const ReplayResult& result, size_t index);

}  // namespace factflow
