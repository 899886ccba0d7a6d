#include "model/mixers/rg_lru/rg_lru_shape.hpp"

#include <stdexcept>
#include <variant>

#include <fmt/format.h>

namespace factflow {
namespace {

std::int64_t wide_bytes(Precision precision) {
  return static_cast<std::int64_t>(c10::elementSize(wide_type(precision)));
}

}  // namespace

std::string RgLruShape::in_words() const {
  return fmt::format("{} recurrent channels in {} blocks, convolution {}", width, blocks,
                     conv_kernel);
}

SlotBytes RgLruShape::slot_bytes(Precision precision) const {
  return {.own = width * wide_bytes(precision)};
}

std::vector<ColumnBuffer> RgLruShape::buffers(Precision precision) const {
  return {{"projected", 2 * std::int64_t{width} * activation_bytes(precision)},
          {"rg lru", width * (12 * wide_bytes(precision) + factor_bytes(precision))}};
}

void RgLruShape::check_block(const Block& block) const {
  if (std::holds_alternative<Heads>(block.selection) || block.parts)
    throw std::invalid_argument("rg_lru has channels, not heads or parts");
  if (const auto* channels = std::get_if<Channels>(&block.selection))
    check_indices(channels->indices, width, "channels");
}

}  // namespace factflow
