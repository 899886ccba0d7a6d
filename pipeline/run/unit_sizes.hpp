// How many prompts each unit of a list holds: large ones first, small ones at the end, so that
// ranks that take one after the other finish together. Guided self-scheduling (Polychronopoulos &
// Kuck 1987) with a fixed divisor in place of the number of workers: units and their names must not
// depend on how many ranks there are (docs/distribution.md).
#pragma once

#include <cstdint>
#include <vector>

namespace factflow {

// Prompts of which the same is asked, so that they cost about the same.
struct SizedPart {
  std::uint32_t prompts = 0;
  // Prompts per unit; a unit of the largest size costs the same in every part.
  std::uint32_t largest = 1, smallest = 1;
};

// [part][unit] prompts; each part's add up to its own. Only the last unit of a part may be smaller
// than `smallest`. Throws std::invalid_argument unless 1 <= smallest <= largest.
std::vector<std::vector<std::uint32_t>> unit_sizes(const std::vector<SizedPart>& parts);

}  // namespace factflow
