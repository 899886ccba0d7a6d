// Random numbers that depend on what they are for alone, not on who asks first.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

namespace factflow {

// splitmix64 (Steele, Lea & Flood 2014): a number that looks random, of `x` alone.
inline std::uint64_t mixed_bits(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

// In (0, 1].
inline double uniform_of(std::uint64_t bits) {
  return (static_cast<double>(bits >> 11) + 1) * 0x1.0p-53;
}

// Normal deviates of mean 0 and this standard deviation (Box & Muller 1958).
inline std::vector<double> normal_deviates(std::uint64_t seed, std::int64_t count,
                                           double deviation) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t first = mixed_bits(seed + 2 * static_cast<std::uint64_t>(i)),
                        second = mixed_bits(first);
    values.push_back(deviation * std::sqrt(-2 * std::log(uniform_of(first))) *
                     std::cos(2 * std::numbers::pi * uniform_of(second)));
  }
  return values;
}

}  // namespace factflow
