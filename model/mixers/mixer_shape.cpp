#include "model/mixers/mixer_shape.hpp"

#include <stdexcept>

#include <fmt/format.h>

namespace factflow {

void MixerShape::check_indices(const std::vector<int>& indices, std::int64_t count,
                               const char* what) const {
  for (const int index : indices)
    if (index < 0 || index >= count)
      throw std::invalid_argument(
          fmt::format("{} has {} 0 to {}, not {}", name(), what, count - 1, index));
}

}  // namespace factflow
