#include "model/mixers/gated_delta/gated_delta_shape.hpp"

#include <stdexcept>
#include <variant>

#include <fmt/format.h>

namespace factflow {
namespace {

std::int64_t wide_bytes(Precision precision) {
  return static_cast<std::int64_t>(c10::elementSize(wide_type(precision)));
}

}  // namespace

std::string GatedDeltaShape::in_words() const {
  return fmt::format("{} value heads of {}, {} key heads of {}, convolution {}", value_heads,
                     value_size, key_heads, key_size, conv_kernel);
}

std::string GatedDeltaShape::edges_in_words() const {
  return "state: of all value heads, of a set by decay, or of a list, with or without what sources "
         "erase; convolution: of all of q, k and v";
}

SlotBytes GatedDeltaShape::slot_bytes(Precision precision) const {
  return {.per_token = values() * wide_bytes(precision)};
}

std::vector<ColumnBuffer> GatedDeltaShape::buffers(Precision precision) const {
  const std::int64_t activation = activation_bytes(precision);
  return {{"projected", projected() * activation},
          {"qkv", conv_channels() * activation},
          {"mixed", values() * factor_bytes(precision)},
          {"s", values() * activation},
          {"changes", values() * wide_bytes(precision)},
          {"kept changes", values() * wide_bytes(precision)}};
}

std::int64_t GatedDeltaShape::site_width(Site site) const {
  if (site == Site::kO) return 0;
  return site == Site::kQkv || site == Site::kConv ? conv_channels() : values();
}

void GatedDeltaShape::check_block(const Block& block) const {
  if (std::holds_alternative<Channels>(block.selection) || block.parts)
    throw std::invalid_argument("gated_delta has heads, not channels or parts");
  const auto* set = std::get_if<ChannelSet>(&block.selection);
  const bool all = set != nullptr && set->kind == ChannelSet::Kind::kAll;
  if (!all && block.through != Block::Through::kState)
    throw std::invalid_argument(
        "gated_delta: the convolution is of q, k and v of all heads; only the state has heads");
  if (const auto* heads = std::get_if<Heads>(&block.selection))
    check_indices(heads->indices, value_heads, "value heads");
}

}  // namespace factflow
