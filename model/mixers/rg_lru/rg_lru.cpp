#include "model/mixers/rg_lru/rg_lru.hpp"

#include <optional>
#include <utility>

#include "model/device.hpp"
#include "model/mixers/row_scan.hpp"
#include "model/mixers/row_table.hpp"
#include "model/mixers/state_space.hpp"
#include "model/reference/reference_ops.hpp"

namespace factflow {
namespace {

constexpr double kDecayScale = -8;  // of the decay's logarithm

// States [sequences, channels].
class RgLruRecurrence final : public Recurrence {
 public:
  explicit RgLruRecurrence(RgLruTokens tokens) : tokens_(std::move(tokens)) {}

  at::Tensor initial(std::int64_t sequences) const override {
    return at::zeros({sequences, tokens_.input.size(1)}, tokens_.input.options());
  }
  at::Tensor after(const at::Tensor& state, const at::Tensor& columns, const at::Tensor& writes,
                   const at::Tensor&) const override {
    return state * tokens_.decay.index_select(0, columns) +
           part(writes, tokens_.input.index_select(0, columns));
  }
  at::Tensor read(const at::Tensor& state, const at::Tensor&) const override {
    return state.unsqueeze(2);
  }

 private:
  RgLruTokens tokens_;
};

}  // namespace

RgLru::RgLru(const RgLruShape& shape, RgLruWeights weights)
    : Mixer(std::move(weights.output)), shape_(shape), weights_(std::move(weights)) {}

// [width] true for the channels that a block takes.
at::Tensor RgLru::losing_state(const Block& block, at::Device device) const {
  if (const auto* some = std::get_if<Channels>(&block.selection))
    return chosen(some->indices, shape_.width, device);
  return losing_by_decay(std::get<ChannelSet>(block.selection), weights_.decay_norms, device);
}

at::Tensor RgLru::gate(const at::Tensor& x, const at::Tensor& weight,
                       const at::Tensor& bias) const {
  const at::Tensor blocks = x.unflatten(-1, {shape_.blocks, -1}).transpose(-2, -3);
  return (blocks.matmul(weight).transpose(-2, -3) + bias).flatten(-2).sigmoid();
}

RgLruTokens RgLru::tokens(const at::Tensor& x, const at::Tensor& first) const {
  const at::Tensor enters = gate(x, weights_.input_gate, weights_.input_bias) * x;
  const at::Tensor log_decay =
      kDecayScale * gate(x, weights_.decay_gate, weights_.decay_bias) * weights_.decay;
  const at::Tensor share = (1 - (2 * log_decay).exp()).sqrt();
  return {enters * at::where(first, at::ones_like(share), share), log_decay.exp()};
}

// Without an activation, and without the taps that columns lose.
at::Tensor RgLru::convolved(Step& step, const at::Tensor& a) const {
  if (!step.tap_cut()) {
    const at::Tensor x = step.wide_matrix("convolved", shape_.width);
    filter(step.rows, weights_.convolution, /*cuts=*/false, a, x);
    return x;
  }
  return filtered(step, weights_.convolution, a,
                  [&](std::int64_t back) { return lost_taps(step, back); });
}

Factor RgLru::mix(Step& step, const Factor& input) const {
  const std::int64_t width = shape_.width;
  const at::Tensor all = step.matrix("projected", 2 * width);
  multiply(input, weights_.in, weights_.in_bias, all);
  const at::Tensor a = all.narrow(1, 0, width).to(step.hidden.scalar_type(), false, /*copy=*/true);
  step.at(Site::kA, {a});
  const at::Tensor x = convolved(step, a);
  step.at(Site::kConv, {x});
  const RowTable table(step);
  std::optional<FullProducts> full;  // the gates' products are libtorch's, which has no parts
  if (weights_.in.precision() != Precision::kTf32) full.emplace();
  const RgLruTokens entering = tokens(x, (table.positions() == 0).unsqueeze(1));
  const at::Tensor s = step.wide_matrix("s", width);
  linear_scan(step.rows, entering.input, entering.decay, step.channel_masks,
              step.workspace.wide_matrix("states", step.rows.slot_count, width), s);
  recompute_cut(step, RgLruRecurrence(entering), s.unsqueeze(2));
  step.at(Site::kS, {s});
  const at::Tensor g = reference::activated(all.narrow(1, width, width).to(s.scalar_type()),
                                            kernels::Activation::kGeluTanh);
  step.at(Site::kG, {g});
  const Factor y = factor_of(step.rows, step.workspace, (s * g).to(all.scalar_type()));
  step.at(Site::kY, y);
  return y;
}

}  // namespace factflow
