// What figures and report share about parts of edges.
#pragma once

#include <cstddef>
#include <vector>

#include "analysis/parts.hpp"

namespace factflow {

struct PartCell {
  std::size_t part = 0, start = 0;  // places
};
inline constexpr std::size_t kMostBars = 24;

// At most kMostBars, the largest drop first: of heads in windows of one layer over all layers,
// where each layer's heads are others; else at the strongest start.
std::vector<PartCell> largest_drops(const DividedEdge& edge);

}  // namespace factflow
