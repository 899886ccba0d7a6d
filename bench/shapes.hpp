// The published shapes that benchmarks use, as their config.json says them.
#pragma once

#include <string>
#include <vector>

#include "model/architecture.hpp"

namespace factflow {

// How far log-probabilities may be from float64's, as a share of 1 - log p: five times what was
// measured on an H200 (bench/RESULTS.md). Random weights amplify rounding, deep models most.
struct RoundingTolerances {
  double fp64, fp32, tf32x3, tf32, bf16;
};

struct BenchShape {
  const char* name;
  // Of the reference code for one knockout forward, measured on an H200; 0 = not measured.
  double reference_seconds;
  RoundingTolerances tolerances;
  const char* config;
};
const std::vector<BenchShape>& bench_shapes();
std::vector<std::string> shape_names();
// Throws InputError of `program` with the nearest known name.
const BenchShape& shape_named(const std::string& name, const std::string& program);
Architecture bench_architecture(const BenchShape& shape);

}  // namespace factflow
