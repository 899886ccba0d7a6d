#include "model/mixers/attention/attention_shape.hpp"

#include <stdexcept>
#include <variant>

#include <fmt/format.h>

#include "model/limits.hpp"

namespace factflow {

std::string AttentionShape::in_words() const {
  return fmt::format("{} heads of {}, {} key heads", heads, head_size, key_heads);
}

std::string AttentionShape::edges_in_words() const {
  return "scores: of all heads, or of a list";
}

std::vector<ColumnBuffer> AttentionShape::buffers(Precision precision) const {
  std::vector<ColumnBuffer> buffers = {
      {"query key value", projected() * activation_bytes(precision)},
      {"mixed", queries() * factor_bytes(precision)}};
  const auto wide = static_cast<std::int64_t>(c10::elementSize(wide_type(precision)));
  if (gated) buffers.push_back({"gated heads", queries() * 3 * wide});
  return buffers;
}

std::vector<Site> AttentionShape::sites() const {
  if (!gated) return {Site::kS, Site::kO};
  return {Site::kS, Site::kG, Site::kY, Site::kO};
}

void AttentionShape::check_cuda(const CudaLimits& limits, const std::string& model) const {
  expect_at_most(limits.head_size, head_size, "dimensions in an attention head", model);
}

void AttentionShape::check_block(const Block& block) const {
  if (block.through == Block::Through::kConvolution)
    throw std::invalid_argument("attention has no edges through a convolution");
  const auto* set = std::get_if<ChannelSet>(&block.selection);
  const bool some = set != nullptr && set->kind != ChannelSet::Kind::kAll;
  if (std::holds_alternative<Channels>(block.selection) || some || block.parts)
    throw std::invalid_argument("attention has heads, not channels or parts");
  if (const auto* some_heads = std::get_if<Heads>(&block.selection))
    check_indices(some_heads->indices, heads, "heads");
}

}  // namespace factflow
