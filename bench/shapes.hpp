// The published shapes that benchmarks use, as their config.json says them.
#pragma once

#include <string>
#include <vector>

#include "model/architecture.hpp"

namespace factflow {

struct BenchShape {
  const char* name;
  // Of the reference code for one knockout forward, measured on an H200; 0 = not measured.
  double reference_seconds;
  // How much more its random weights amplify rounding than GPT-2's, about (bench/RESULTS.md).
  double amplification;
  const char* config;
};
const std::vector<BenchShape>& bench_shapes();
Architecture bench_architecture(const BenchShape& shape);

}  // namespace factflow
