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

  std::int64_t channels() const override { return shape_.value_heads; }
  std::int64_t width() const override { return shape_.value_size; }
  at::Tensor initial(std::int64_t sequences) const override {
    return at::zeros({sequences, shape_.value_heads, shape_.key_size, shape_.value_size},
                     tokens_.values.options());
  }
  at::Tensor after(const at::Tensor& state, const at::Tensor& columns, const at::Tensor& writes,
                   const at::Tensor& erases) const override {
    const auto of = [&](const at::Tensor& all) { return all.index_select(0, columns); };
    const auto part = [&](const at::Tensor& share, const at::Tensor& value) {
      return share.defined() ? value * share.unsqueeze(-1) : value;
    };
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
    : Mixer(std::move(weights.output)), shape_(shape), weights_(std::move(weights)) {}

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

Factor GatedDelta::mix(Step& step, const Factor& input) const {
  const GatedDeltaShape& shape = shape_;
  const std::int64_t channels = shape.conv_channels(), values = shape.values(),
                     heads = shape.value_heads;
  const at::ScalarType wide = step.hidden.scalar_type();
  const at::Tensor all = step.matrix("projected", shape.projected()),
                   qkv = step.matrix("qkv", channels);
  multiply(input, weights_.in, {}, all);
  const at::Tensor before = all.narrow(1, 0, channels);
  step.at(Site::kQkv, {before});
  convolve(step.rows, weights_.convolution, before, {qkv}, step.tap_cut());
  step.at(Site::kConv, {qkv});
  const auto rest = all.narrow(1, channels, values + 2 * heads)
                        .to(wide)
                        .split_with_sizes({values, heads, heads}, 1);
  const DeltaRecurrence recurrence(shape, tokens(qkv.to(wide), rest[1], rest[2]));
  const at::Tensor s = scan_rows(step, recurrence).flatten(1);
  step.at(Site::kS, {s});
  const at::Tensor g = at::silu(rest[0]);
  step.at(Site::kG, {g});
  const Factor y = factor_of(step.rows, step.workspace,
                             gated(s, g).to(activation_type(weights_.in.precision())));
  step.at(Site::kY, y);
  return y;
}

}  // namespace factflow
