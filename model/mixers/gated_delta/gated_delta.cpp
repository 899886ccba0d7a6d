#include "model/mixers/gated_delta/gated_delta.hpp"

#include <cmath>
#include <utility>

#include "model/mixers/row_scan.hpp"
#include "model/mixers/state_space.hpp"
#include "model/reference/reference_ops.hpp"

namespace factflow {
namespace {

constexpr double kNormFloor = 1e-6;  // inside the root of the norms of queries and keys

at::Tensor with_length_one(const at::Tensor& heads) {
  return heads / (heads.square().sum(-1, /*keepdim=*/true) + kNormFloor).sqrt();
}

// States [sequences, value heads, key size, value size].
class DeltaRecurrence final : public Recurrence {
 public:
  DeltaRecurrence(const GatedDeltaShape& shape, DeltaTokens tokens)
      : shape_(shape), tokens_(std::move(tokens)) {}

  at::Tensor initial(std::int64_t sequences) const override {
    return at::zeros({sequences, shape_.value_heads, shape_.key_size, shape_.value_size},
                     tokens_.values.options());
  }
  at::Tensor after(const at::Tensor& state, const at::Tensor& columns, const at::Tensor& writes,
                   const at::Tensor& erases) const override {
    const auto of = [&](const at::Tensor& all) { return all.index_select(0, columns); };
    const at::Tensor keys = of(tokens_.keys), beta = of(tokens_.beta).unsqueeze(-1);
    const at::Tensor decayed = state * of(tokens_.decay).unsqueeze(-1).unsqueeze(-1);
    const at::Tensor found = keys.unsqueeze(-2).matmul(decayed).squeeze(-2);
    const at::Tensor change = beta * (part(writes, of(tokens_.values)) - part(erases, found));
    return decayed + keys.unsqueeze(-1) * change.unsqueeze(-2);
  }
  at::Tensor read(const at::Tensor& state, const at::Tensor& columns) const override {
    return tokens_.queries.index_select(0, columns).unsqueeze(-2).matmul(state).squeeze(-2);
  }

 private:
  const GatedDeltaShape& shape_;
  DeltaTokens tokens_;
};

}  // namespace

GatedDelta::GatedDelta(const GatedDeltaShape& shape, GatedDeltaWeights weights)
    : Mixer(std::move(weights.output)),
      shape_(shape),
      weights_(std::move(weights)),
      rule_{weights_.a,        weights_.dt_bias, shape.key_heads,    shape.key_size,
            shape.value_heads, shape.value_size, shape.largest_beta, kNormFloor},
      gated_norm_{weights_.norm.repeat({shape.value_heads}), shape.value_size,
                  weights_.norm_epsilon, /*norm_before_gate=*/true} {}

// [value heads] true for those that a block takes.
at::Tensor GatedDelta::losing_state(const Block& block, at::Device device) const {
  if (const auto* some = std::get_if<Heads>(&block.selection))
    return chosen(some->indices, shape_.value_heads, device);
  return losing_by_decay(std::get<ChannelSet>(block.selection), weights_.decay_norms, device);
}

at::Tensor GatedDelta::losing_taps(const Block&, at::Device device) const {
  return at::ones({shape_.conv_channels()}, at::TensorOptions(device).dtype(at::kBool));
}

DeltaTokens GatedDelta::tokens(const at::Tensor& qkv, const at::Tensor& b,
                               const at::Tensor& a) const {
  const GatedDeltaShape& shape = shape_;
  const auto parts = qkv.split_with_sizes({shape.keys(), shape.keys(), shape.values()}, -1);
  const auto by_value_head = [&](const at::Tensor& keys) {
    return with_length_one(keys.unflatten(-1, {shape.key_heads, shape.key_size}))
        .repeat_interleave(shape.value_heads / shape.key_heads, -2);
  };
  return {by_value_head(parts[0]) / std::sqrt(shape.key_size), by_value_head(parts[1]),
          parts[2].unflatten(-1, {shape.value_heads, shape.value_size}),
          b.sigmoid() * shape.largest_beta,
          (weights_.a * at::softplus(a + weights_.dt_bias)).exp()};
}

at::Tensor GatedDelta::gated(const at::Tensor& s, const at::Tensor& g) const {
  const at::Tensor heads = reference::rms_normalised(s, shape_.value_size, weights_.norm_epsilon)
                               .unflatten(-1, {shape_.value_heads, shape_.value_size}) *
                           weights_.norm;
  return heads.flatten(-2) * g;
}

void GatedDelta::recompute(Step& step, const at::Tensor& qkv, const at::Tensor& b,
                           const at::Tensor& a, const at::Tensor& s) const {
  if (!step.state_cut()) return;
  const at::ScalarType wide = step.hidden.scalar_type();
  const DeltaRecurrence recurrence(shape_, tokens(qkv.to(wide), b.to(wide), a.to(wide)));
  recompute_cut(step, recurrence, s.unflatten(1, {shape_.value_heads, shape_.value_size}));
}

void GatedDelta::gate_apart(Step& step, const at::Tensor& s, const at::Tensor& z,
                            const Factor& y) const {
  const at::Tensor columns = step.before_gate();
  if (!columns.defined()) return;
  const at::Tensor g = step.wide_matrix("gate", shape_.values());
  const auto of = [&](const at::Tensor& all) {
    return all.index_select(0, columns).to(g.scalar_type());
  };
  g.index_copy_(0, columns, at::silu(of(z)));
  step.at(Site::kG, {g});
  write_rows(step.rows, step.workspace, y, columns, gated(of(s), of(g)));
}

Factor GatedDelta::mix(Step& step, const Factor& input) const {
  const std::int64_t channels = shape_.conv_channels(), values = shape_.values(),
                     heads = shape_.value_heads;
  const at::Tensor all = step.matrix("projected", shape_.projected()),
                   qkv = step.matrix("qkv", channels), s = step.matrix("s", values);
  multiply(input, weights_.in, {}, all);
  const auto parts = all.split_with_sizes({channels, values, heads, heads}, 1);
  step.at(Site::kQkv, {parts[0]});
  convolve(step.rows, weights_.convolution, parts[0], {qkv}, step.tap_cut());
  step.at(Site::kConv, {qkv});
  delta_rule(step.rows, rule_, qkv, parts[2], parts[3], step.channel_masks,
             {step.wide_matrix("changes", values), step.wide_matrix("kept changes", values),
              step.workspace.wide_matrix("slot changes", step.rows.slot_count,
                                         step.rows.longest * values)},
             s);
  recompute(step, qkv, parts[2], parts[3], s);
  step.at(Site::kS, {s});
  const Factor y = step.factor("mixed", values);
  apply_gated_norm(step.rows, gated_norm_, s, parts[1], y);
  gate_apart(step, s, parts[1], y);
  step.at(Site::kY, y);
  return y;
}

}  // namespace factflow
