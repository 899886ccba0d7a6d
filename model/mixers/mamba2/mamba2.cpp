#include "model/mixers/mamba2/mamba2.hpp"

#include <utility>

#include "model/mixers/state_space.hpp"

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
  const at::Tensor into_convolution = all.narrow(1, 2 * mlp + inner, shape.conv_channels());
  step.at(Site::kA, {into_convolution.narrow(1, 0, inner)});
  step.at(Site::kXbc, {into_convolution});
  convolve(step.rows, weights_.convolution, into_convolution, {xbc}, step.tap_cut());
  step.at(Site::kConv, {xbc});
  const at::Tensor y = gated.numbers.defined() ? gated.numbers : step.matrix("y", inner);
  state_space_dual(step.rows, weights_.dual, xbc.narrow(1, 0, inner), xbc.narrow(1, inner, states),
                   xbc.narrow(1, inner + states, states), dt, step.channel_masks, y,
                   step.state_cut());
  const at::Tensor apart = gated_apart(step, xbc.narrow(1, 0, inner), y, z);
  if (shape.gated_norm)
    apply_gated_norm(step.rows, weights_.gated_norm, y, z, gated);
  else
    activate(step.rows, kernels::Activation::kSilu, z, y, gated);
  if (apart.defined()) write_rows(step.rows, step.workspace, gated, step.before_gate(), apart);
  step.at(Site::kY, gated);
  if (mlp > 0)
    activate(step.rows, kernels::Activation::kSilu, all.narrow(1, 0, mlp), all.narrow(1, mlp, mlp),
             mixed.columns(0, mlp));
  return mixed;
}

// Where something is read or written between the dual form and the output projection: the latter's
// input at these columns, computed from a gate apart. [columns, inner], wide; undefined: nowhere.
at::Tensor Mamba2Mixer::gated_apart(Step& step, const at::Tensor& x, const at::Tensor& y,
                                    const at::Tensor& z) const {
  const at::Tensor columns = step.before_gate();
  if (!columns.defined()) return {};
  const at::Tensor g = step.wide_matrix("gate", shape_.inner);
  g.index_copy_(0, columns, at::silu(z.index_select(0, columns).to(g.scalar_type())));
  step.at(Site::kG, {g});
  const at::Tensor d =
      weights_.dual.d.repeat_interleave(static_cast<std::int64_t>(shape_.head_size));
  const at::Tensor s = step.wide_matrix("scan output", shape_.inner);
  s.index_copy_(0, columns, read_rows({y}, columns, s.scalar_type()));
  write_scan(step, columns, s, {x}, d);
  return gated(s.index_select(0, columns), g.index_select(0, columns));
}

std::vector<EditableMatrix> Mamba2Mixer::editable() const {
  const std::int64_t inner = shape_.inner, mlp = shape_.mlp_size;
  const EditableMatrix in{
      .projection = &weights_.in, .bias = weights_.in_bias, .columns = weights_.in.inputs()};
  EditableMatrix a = in, xbc = in, g = in;
  g.name = EditedMatrix::kWg, g.first_row = 2 * mlp, g.rows = inner;
  g.value = Site::kG, g.activated = true;
  a.name = EditedMatrix::kWa, a.first_row = 2 * mlp + inner, a.rows = inner, a.value = Site::kA;
  xbc.name = EditedMatrix::kWxbc, xbc.first_row = a.first_row, xbc.rows = shape_.conv_channels();
  xbc.value = Site::kXbc;
  EditableMatrix o = whole_output(EditedMatrix::kWo, Site::kY, Site::kO);
  o.first_column = mlp, o.columns = inner;
  return {a, xbc, g, o};
}

}  // namespace factflow
