// What a sweep's answers are held against in the run that times them: some of its knockouts as
// whole forwards of one prompt each, in float64, with every mixing matrix materialised
// (tests/model/naive_forward.hpp). Nothing of it is the engine's but the random weights.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "bench/shapes.hpp"
#include "model/replay/replay.hpp"

namespace factflow {

inline constexpr std::uint64_t kBenchSeed = 1;  // of the weights, here and in the network timed

class WholeForwards {
 public:
  // Runs them, on the device, with the weights of Network::random(..., precision, kBenchSeed)
  // before they are rounded for products.
  WholeForwards(const BenchShape& shape, at::Device device, Precision precision,
                std::span<const ReplayRequest> requests);

  // The largest difference of a log-probability among them, as a share of 1 - log p.
  double distance(const std::vector<ReplayResult>& results) const;

 private:
  struct Forward {
    size_t request, cut, window;
    double log_probability;
  };
  std::vector<Forward> forwards_;
};

// How far the sample may be off.
double tolerance(const RoundingTolerances& of, Precision precision);

// How many answers are not finite, where every cut has edges.
std::int64_t count_not_finite(const std::vector<ReplayResult>& results);
// How many answers differ in any bit between two runs of the same requests.
std::int64_t count_changed(const std::vector<ReplayResult>& one,
                           const std::vector<ReplayResult>& other);

}  // namespace factflow
