// The answers of the float64 oracle (tests/oracle/README.md) as requests to the replay engine.
#pragma once

#include <filesystem>
#include <vector>

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
// The engine's probability for knockout `index` of a case. A knockout without an edge is the clean
// run.
double probability_of(const ReplayResult& result, size_t index);

}  // namespace factflow
