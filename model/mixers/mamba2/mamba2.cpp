#include "model/mixers/mamba2/mamba2.hpp"

#include <utility>

namespace factflow {

Mamba2Mixer::Mamba2Mixer(const Mamba2Shape& shape, Mamba2Weights weights)
    : Mixer(std::move(weights.output)), shape_(shape), weights_(std::move(weights)) {}

Factor Mamba2Mixer::mix(Step& step, const Factor& input) const {
  const Mamba2Shape& shape = shape_;
  const std::int64_t mlp = shape.mlp_size, inner = shape.inner, states = shape.group_states();
  const Factor mixed = step.factor("mixed", mlp + inner), gated = mixed.columns(mlp, inner);
  const at::Tensor all = step.matrix("projected", shape.projected()),
                   xbc = step.matrix("xbc", shape.conv_channels());
  multiply(input, weights_.in, weights_.in_bias, all);
  const at::Tensor z = all.narrow(1, 2 * mlp, inner);
  const at::Tensor dt = all.narrow(1, 2 * mlp + inner + shape.conv_channels(), shape.heads);
  convolve(step.rows, weights_.convolution, all.narrow(1, 2 * mlp + inner, shape.conv_channels()),
           {xbc});
  const at::Tensor y = gated.numbers.defined() ? gated.numbers : step.matrix("y", inner);
  state_space_dual(step.rows, weights_.dual, xbc.narrow(1, 0, inner), xbc.narrow(1, inner, states),
                   xbc.narrow(1, inner + states, states), dt, step.channel_masks, y);
  if (shape.gated_norm)
    apply_gated_norm(step.rows, weights_.gated_norm, y, z, gated);
  else
    activate(step.rows, kernels::Activation::kSilu, z, y, gated);
  if (mlp > 0)
    activate(step.rows, kernels::Activation::kSilu, all.narrow(1, 0, mlp), all.narrow(1, mlp, mlp),
             mixed.columns(0, mlp));
  return mixed;
}

}  // namespace factflow
