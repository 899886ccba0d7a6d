#include "model/mixers/mixture/mixture_shape.hpp"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>

namespace factflow {

std::string MixtureShape::in_words() const {
  const std::string shared =
      shared_inner > 0 ? fmt::format(" and a shared one of {}", shared_inner) : "";
  return fmt::format("{} of {} experts of {}{}{}", routing.chosen, routing.experts, inner,
                     gated ? " gated" : "", shared);
}

// All columns may go to one expert, whose rows are then as many.
std::vector<ColumnBuffer> MixtureShape::buffers(Precision precision) const {
  const std::int64_t widest = std::max(inner, shared_inner), number = activation_bytes(precision);
  return {{"expert", widest * (gated ? 2 : 1) * number},
          {"expert activated", widest * factor_bytes(precision)},
          {"expert rows", hidden * (factor_bytes(precision) + 3 * std::int64_t{8})},
          {"router", 8 * (3 * static_cast<std::int64_t>(routing.experts) + 6 * routing.chosen)}};
}

void MixtureShape::check_block(const Block&) const {
  throw std::invalid_argument("a mixture of experts has no edges");
}

}  // namespace factflow
