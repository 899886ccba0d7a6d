#include "model/mixers/short_convolution/short_convolution_shape.hpp"

#include <stdexcept>
#include <variant>

#include <fmt/format.h>

namespace factflow {

std::string ShortConvolutionShape::in_words() const {
  return fmt::format("gated convolution of {} channels over {} tokens", width, conv_kernel);
}

std::vector<ColumnBuffer> ShortConvolutionShape::buffers(Precision precision) const {
  const auto wide = static_cast<std::int64_t>(c10::elementSize(wide_type(precision)));
  return {{"projected", 3 * std::int64_t{width} * activation_bytes(precision)},
          {"short convolution", width * (6 * wide + factor_bytes(precision))}};
}

void ShortConvolutionShape::check_block(const Block& block) const {
  if (block.through == Block::Through::kConvolution)
    throw std::invalid_argument("short_convolution has no edges through a convolution but its own");
  const auto* set = std::get_if<ChannelSet>(&block.selection);
  if (set == nullptr || set->kind != ChannelSet::Kind::kAll || block.parts)
    throw std::invalid_argument("short_convolution: only edges of all channels can be blocked");
}

}  // namespace factflow
