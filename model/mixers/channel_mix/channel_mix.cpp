#include "model/mixers/channel_mix/channel_mix.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "model/mixers/token_shift.hpp"
#include "model/reference/reference_ops.hpp"

namespace factflow {

std::string ChannelMixShape::in_words() const {
  return fmt::format("channel mixing {}", inner);
}

std::vector<ColumnBuffer> ChannelMixShape::buffers(Precision precision) const {
  const auto wide = static_cast<std::int64_t>(c10::elementSize(wide_type(precision)));
  return {{"channel mix", (4 * std::int64_t{hidden} + 3 * std::int64_t{inner}) * wide},
          {"converted", std::max(hidden, inner) * factor_bytes(precision)}};
}

void ChannelMixShape::check_block(const Block&) const {
  throw std::invalid_argument("channel mixing has no edges");
}

ChannelMix::ChannelMix(const ChannelMixShape& shape, ChannelMixWeights weights)
    : Mixer(std::move(weights.output)), shape_(shape), weights_(std::move(weights)) {}

Factor ChannelMix::mix(Step& step, const Factor& input) const {
  step.at(Site::kMlpIn, input);
  const at::Tensor x = wide_input(step, input);
  const at::Tensor inner =
      wide_product(step, x + (token_before(step, x) - x) * weights_.mix, weights_.key);
  const Factor hidden =
      factor_of(step.rows, step.workspace,
                inner.relu().square().to(activation_type(weights_.key.precision())));
  step.at(Site::kMlpHidden, hidden);
  return hidden;
}

at::Tensor ChannelMix::reference_mix(ReferencePass& pass, int layer,
                                     const at::Tensor& input) const {
  const at::Tensor x = pass.at(Site::kMlpIn, layer, input);
  const at::Tensor inner =
      reference::projected(x + (token_before(x) - x) * weights_.mix, weights_.key, {});
  return pass.at(Site::kMlpHidden, layer, inner.relu().square());
}

}  // namespace factflow
