#include "model/mixers/mamba/mamba.hpp"

#include <utility>

#include "model/mixers/state_space.hpp"

namespace factflow {

MambaMixer::MambaMixer(const MambaShape& shape, MambaWeights weights)
    : Mixer(std::move(weights.output)), shape_(shape), weights_(std::move(weights)) {}

Factor MambaMixer::mix(Step& step, const Factor& input) const {
  const std::int64_t inner = shape_.inner;
  const at::Device device = step.hidden.device();
  const Factor x = step.factor("x", inner, /*with_numbers=*/true);
  const Factor mixed = step.factor("mixed", inner);
  const at::Tensor xz = step.matrix("xz", 2 * inner), dt = step.matrix("dt", inner);
  multiply(input, weights_.in, weights_.in_bias, xz);
  const at::Tensor a = xz.narrow(1, 0, inner), z = xz.narrow(1, inner, inner);
  step.at(Site::kA, {a});
  convolve(step.rows, weights_.convolution, a, x, step.tap_cut());
  step.at(Site::kConv, x);
  const TokenParameters parameters = token_parameters(step, x);
  multiply(parameters.low_rank, weights_.time_step, {}, dt);
  const std::int64_t slots = states_stored(device, step.rows.suffixes) ? step.rows.slot_count : 0;
  const at::Tensor states =
      step.workspace.wide_matrix("states", slots, static_cast<std::int64_t>(shape_.states) * inner);
  const at::Tensor scratch =
      step.workspace.matrix("scan", 1,
                            scan_scratch_bytes(device, step.rows.part_count, step.rows.replay_count,
                                               step.rows.part_tokens),
                            at::kByte);
  const GateColumns gate = open_gate(step, z);
  selective_scan(step.rows, weights_.scan, x.numbers, z, dt, parameters.b, parameters.c,
                 step.channel_masks, states, scratch, mixed, step.state_cut());
  close_gate(step, gate, x, mixed);
  step.at(Site::kY, mixed);
  return mixed;
}

// Where something is written or read between scan and gate: the gate apart, at those columns.
GateColumns MambaMixer::open_gate(Step& step, at::Tensor z) const {
  const at::Tensor columns = step.before_gate();
  if (!columns.defined()) return {};
  const GateColumns gate{columns, step.wide_matrix("gate", shape_.inner),
                         step.wide_matrix("scan output", shape_.inner)};
  factflow::open_gate(step.rows, gate, z);
  step.at(Site::kG, {gate.g});
  return gate;
}

void MambaMixer::close_gate(Step& step, const GateColumns& gate, const Factor& x,
                            const Factor& mixed) const {
  if (!gate.columns.defined()) return;
  take_scan(step.rows, gate, mixed);
  write_scan(step, gate.columns, gate.s, x, weights_.scan.d);
  factflow::close_gate(step.rows, gate, mixed);
}

MambaMixer::TokenParameters MambaMixer::token_parameters(Step& step, const Factor& x) const {
  const std::int64_t rank = shape_.time_step_rank, states = shape_.states;
  if (!shape_.normalise_parameters) {
    const at::Tensor all = step.matrix("parameters", rank + 2 * states);
    multiply(x, weights_.parameters, {}, all);
    return {factor_of(step.rows, step.workspace, all.narrow(1, 0, rank)),
            all.narrow(1, rank, states), all.narrow(1, rank + states, states)};
  }
  const at::Tensor all = step.wide_matrix("parameters", rank + 2 * states);
  multiply(x, weights_.parameters, {}, all);
  const TokenParameters normalised{step.factor("low rank", rank), step.matrix("b", states),
                                   step.matrix("c", states)};
  const auto norm = [&](size_t i) {
    return Norm{weights_.parameter_norms[i], {}, shape_.parameter_epsilon, false};
  };
  apply_norm(step.rows, norm(0), all.narrow(1, 0, rank), normalised.low_rank);
  apply_norm(step.rows, norm(1), all.narrow(1, rank, states), {normalised.b});
  apply_norm(step.rows, norm(2), all.narrow(1, rank + states, states), {normalised.c});
  return normalised;
}

std::vector<LayerProduct> MambaMixer::products() const {
  using Into = LayerProduct::Into;
  const Into parameters = shape_.normalise_parameters ? Into::kWide : Into::kActivations;
  return {{&weights_.in}, {&weights_.parameters, parameters}, {&weights_.time_step}};
}

std::vector<EditableMatrix> MambaMixer::editable() const {
  const std::int64_t inner = shape_.inner, hidden = weights_.in.inputs();
  const EditableMatrix in{.projection = &weights_.in, .bias = weights_.in_bias, .columns = hidden};
  EditableMatrix a = in, g = in;
  a.name = EditedMatrix::kWa, a.rows = inner, a.value = Site::kA;
  g.name = EditedMatrix::kWg, g.first_row = g.rows = inner, g.value = Site::kG, g.activated = true;
  return {a, g, whole_output(EditedMatrix::kWo, Site::kY, Site::kO)};
}

}  // namespace factflow
