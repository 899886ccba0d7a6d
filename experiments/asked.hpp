// What is asked of a prompt, in terms that the plan can join, compare and send without knowing what
// it means.
#pragma once

#include <compare>
#include <cstdint>
#include <vector>

namespace factflow {

// One of a kind's items for a model (an edge, a row, ...), as the kind numbers them, and in which
// of its window series; none where the kind has no windows.
struct AskedItem {
  std::uint32_t item = 0;
  std::vector<std::uint32_t> series;  // ascending
  auto operator<=>(const AskedItem&) const = default;
};

using Asked = std::vector<AskedItem>;  // ascending, each item once

// Everything that some of them ask, each once.
Asked together(const std::vector<Asked>& all);

}  // namespace factflow
