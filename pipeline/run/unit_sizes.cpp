#include "pipeline/run/unit_sizes.hpp"

#include <algorithm>
#include <stdexcept>

namespace factflow {
namespace {

// A unit is at most an eighth of what is left of the list. More, smaller units would balance more
// than eight ranks better, and cost fewer of them more: tests/pipeline/run/balance_test.cpp plays
// it through.
constexpr std::uint64_t kShare = 8;
// Work is counted in fractions of a unit of the largest size, in integers: every machine must find
// the same sizes.
constexpr std::uint64_t kFullUnit = 1 << 16;

std::uint64_t work_of(std::uint64_t prompts, const SizedPart& part) {
  return prompts * kFullUnit / part.largest;
}

std::uint32_t next_size(const SizedPart& part, std::uint64_t work_left) {
  const std::uint64_t divisor = kShare * kFullUnit;
  const std::uint64_t wanted = (part.largest * work_left + divisor - 1) / divisor;
  return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(wanted, part.smallest, part.largest));
}

}  // namespace

std::vector<std::vector<std::uint32_t>> unit_sizes(const std::vector<SizedPart>& parts) {
  std::uint64_t work_left = 0;
  for (const SizedPart& part : parts) {
    if (part.smallest < 1 || part.smallest > part.largest)
      throw std::invalid_argument("limits of a unit's size");
    work_left += work_of(part.prompts, part);
  }
  std::vector<std::vector<std::uint32_t>> sizes;
  for (const SizedPart& part : parts) {
    std::vector<std::uint32_t>& units = sizes.emplace_back();
    for (std::uint32_t left = part.prompts; left > 0; left -= units.back()) {
      units.push_back(std::min(left, next_size(part, work_left)));
      work_left -= work_of(units.back(), part);
    }
  }
  return sizes;
}

}  // namespace factflow
