// Random numbers that depend on what they are for alone, not on who asks first.
#pragma once

#include <cstdint>

namespace factflow {

// splitmix64 (Steele, Lea & Flood 2014): a number that looks random, of `x` alone.
inline std::uint64_t mixed_bits(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

}  // namespace factflow
