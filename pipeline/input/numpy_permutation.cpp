#include "pipeline/input/numpy_permutation.hpp"

#include <array>
#include <bit>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace factflow {
namespace {

// GCC and clang have it; -Wpedantic only wants the extension to be named as one.
__extension__ using Uint128 = unsigned __int128;

constexpr Uint128 join_words(std::uint64_t high, std::uint64_t low) {
  return (Uint128{high} << 64) | low;
}

// Spreads a seed over 128 bits of entropy and derives state words from it.
class SeedSequence {
 public:
  explicit SeedSequence(std::uint32_t seed) {
    std::uint32_t constant = 0x43b0d7e5;
    const auto scramble = [&constant](std::uint32_t value) {
      value ^= constant;
      constant *= 0x931e8875;
      value *= constant;
      return value ^ (value >> 16);
    };
    pool_[0] = scramble(seed);
    for (size_t i = 1; i < pool_.size(); ++i) pool_[i] = scramble(0);
    for (size_t source = 0; source < pool_.size(); ++source)
      for (size_t target = 0; target < pool_.size(); ++target)
        if (source != target) pool_[target] = mix(pool_[target], scramble(pool_[source]));
  }

  std::array<std::uint64_t, 4> state_words() const {
    std::array<std::uint64_t, 4> words{};
    std::uint32_t constant = 0x8b51f9dd;
    for (size_t i = 0; i < 2 * words.size(); ++i) {
      std::uint32_t value = pool_[i % pool_.size()] ^ constant;
      constant *= 0x58f38ded;
      value *= constant;
      value ^= value >> 16;
      words[i / 2] |= std::uint64_t{value} << (i % 2 == 0 ? 0 : 32);
    }
    return words;
  }

 private:
  static std::uint32_t mix(std::uint32_t x, std::uint32_t y) {
    const std::uint32_t value = 0xca01f9ddU * x - 0x4973f715U * y;
    return value ^ (value >> 16);
  }

  std::array<std::uint32_t, 4> pool_{};
};

class Pcg64 {
 public:
  explicit Pcg64(std::uint32_t seed) {
    const std::array<std::uint64_t, 4> words = SeedSequence(seed).state_words();
    increment_ = (join_words(words[2], words[3]) << 1) | 1;
    step();
    state_ += join_words(words[0], words[1]);
    step();
  }

  // numpy cuts one 64-bit output into two draws, low half first.
  std::uint32_t next32() {
    if (has_high_half_) {
      has_high_half_ = false;
      return high_half_;
    }
    const std::uint64_t value = next64();
    has_high_half_ = true;
    high_half_ = static_cast<std::uint32_t>(value >> 32);
    return static_cast<std::uint32_t>(value);
  }

  // Uniform in 0 .. largest: the bits that `largest` needs, drawn again while they exceed it.
  // (numpy's integers() uses Lemire's method, its shuffle() this one.)
  std::uint32_t bounded(std::uint32_t largest) {
    const std::uint32_t mask = ~std::uint32_t{0} >> std::countl_zero(largest);
    std::uint32_t value = next32() & mask;
    while (value > largest) value = next32() & mask;
    return value;
  }

 private:
  void step() {
    state_ = state_ * join_words(2549297995355413924U, 4865540595714422341U) + increment_;
  }

  std::uint64_t next64() {
    step();
    const auto high = static_cast<std::uint64_t>(state_ >> 64);
    return std::rotr(high ^ static_cast<std::uint64_t>(state_), static_cast<int>(high >> 58));
  }

  Uint128 state_ = 0;
  Uint128 increment_ = 0;
  bool has_high_half_ = false;
  std::uint32_t high_half_ = 0;
};

}  // namespace

std::vector<std::int64_t> numpy_permutation(std::uint32_t seed, std::int64_t count) {
  if (count < 0 || count > std::numeric_limits<std::uint32_t>::max())
    throw std::invalid_argument("numpy_permutation: count must be from 0 to 2^32 - 1");
  std::vector<std::int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  Pcg64 generator(seed);
  for (size_t i = order.size(); i-- > 1;)
    std::swap(order[i], order[generator.bounded(static_cast<std::uint32_t>(i))]);
  return order;
}

}  // namespace factflow
