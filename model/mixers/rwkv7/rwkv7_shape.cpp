#include "model/mixers/rwkv7/rwkv7_shape.hpp"

#include <stdexcept>
#include <variant>

#include <fmt/format.h>

#include "model/kernels/arguments.hpp"
#include "model/limits.hpp"

namespace factflow {
namespace {

// Values of a column that exist side by side while tokens mix.
constexpr std::int64_t kValues = 24;

std::int64_t wide_bytes(Precision precision) {
  return static_cast<std::int64_t>(c10::elementSize(wide_type(precision)));
}

}  // namespace

std::string Rwkv7Shape::in_words() const {
  return fmt::format("{} RWKV-7 heads of {}", heads, head_size);
}

SlotBytes Rwkv7Shape::slot_bytes(Precision precision) const {
  return {.per_token = hidden() * wide_bytes(precision)};
}

std::vector<ColumnBuffer> Rwkv7Shape::buffers(Precision precision) const {
  const std::int64_t ranks = std::int64_t{decay_rank} + rate_rank + value_rank + gate_rank;
  return {{"rwkv7", (kValues * hidden() + ranks) * wide_bytes(precision)},
          {"s", hidden() * wide_bytes(precision)},
          {"changes", hidden() * wide_bytes(precision)},
          {"kept changes", hidden() * wide_bytes(precision)},
          {"converted", hidden() * factor_bytes(precision)},
          {"carried", hidden() * wide_bytes(precision)}};
}

void Rwkv7Shape::check_cuda(const CudaLimits&, const std::string& model) const {
  expect_at_most(kernels::kLargestDplrHead, head_size, "dimensions in an RWKV-7 head", model);
}

void Rwkv7Shape::check_block(const Block& block) const {
  if (block.through == Block::Through::kConvolution)
    throw std::invalid_argument("rwkv7 has no edges through a convolution");
  const auto* set = std::get_if<ChannelSet>(&block.selection);
  if (set == nullptr || set->kind != ChannelSet::Kind::kAll || block.parts)
    throw std::invalid_argument("rwkv7: only edges of all heads can be blocked");
}

}  // namespace factflow
