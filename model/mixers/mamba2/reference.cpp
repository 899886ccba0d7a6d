#include "model/mixers/mamba2/mamba2.hpp"
#include "model/mixers/state_space.hpp"
#include "model/reference/reference_ops.hpp"

namespace factflow {
namespace {

// y[t] = sum over s <= t of M[t, s] x[s] for each head, where
//   M[t, s] = (C[t] . B[s]) exp(a (dt[s + 1] + ... + dt[t])) dt[s],
// without the entries of `cut` [target, source, heads], which may be undefined. x [.., tokens,
// heads, head size]; b, c [.., tokens, heads, states]; dt [.., tokens, heads].
at::Tensor mixed(const at::Tensor& x, const at::Tensor& dt, const at::Tensor& b,
                 const at::Tensor& c, const at::Tensor& a, const at::Tensor& cut) {
  const std::int64_t tokens = x.size(-3);
  const at::Tensor later =
      at::ones({tokens, tokens}, x.options().dtype(at::kBool)).triu(1).unsqueeze(2);
  const at::Tensor elapsed = (dt * a).cumsum(-2);
  const at::Tensor decay =
      (elapsed.unsqueeze(-2) - elapsed.unsqueeze(-3)).masked_fill(later, 0).exp();
  // [.., heads, target, source] to [.., target, source, heads]
  const at::Tensor read =
      c.transpose(-3, -2).matmul(b.transpose(-3, -2).transpose(-2, -1)).movedim(-3, -1);
  const at::Tensor mixing =
      (read * decay * dt.unsqueeze(-3)).masked_fill(cut.defined() ? later | cut : later, 0);
  return mixing.movedim(-1, -3).matmul(x.transpose(-3, -2)).transpose(-3, -2);
}

}  // namespace

// [heads] true for those that a block takes.
at::Tensor Mamba2Mixer::losing_state(const Block& block, at::Device device) const {
  if (const auto* some = std::get_if<Heads>(&block.selection))
    return chosen(some->indices, shape_.heads, device);
  return losing_by_decay(std::get<ChannelSet>(block.selection), weights_.decay_norms, device);
}

// [x, B, C of all groups] true for the channels that lose taps. B and C have no heads.
at::Tensor Mamba2Mixer::losing_taps(const Block& block, at::Device device) const {
  const auto* set = std::get_if<ChannelSet>(&block.selection);
  const bool all = set != nullptr && set->kind == ChannelSet::Kind::kAll;
  const ConvolutionParts parts = block.parts.value_or(ConvolutionParts{true, all, all});
  const auto* channels = std::get_if<Channels>(&block.selection);
  const at::Tensor x = channels != nullptr
                           ? chosen(channels->indices, shape_.inner, device)
                           : losing_state(block, device)
                                 .repeat_interleave(static_cast<std::int64_t>(shape_.head_size));
  const auto whole = [&](bool loses) {
    return at::full({shape_.group_states()}, loses, at::TensorOptions(device).dtype(at::kBool));
  };
  return at::cat({parts.x ? x : at::zeros_like(x), whole(parts.b), whole(parts.c)});
}

// Norm and gate, in the order of the checkpoint.
at::Tensor Mamba2Mixer::gated(const at::Tensor& s, const at::Tensor& g) const {
  if (!shape_.gated_norm) return s * g;
  const GatedNorm& norm = weights_.gated_norm;
  const at::Tensor y =
      reference::rms_normalised(norm.norm_before_gate ? s : s * g, norm.group, norm.epsilon) *
      norm.weight;
  return norm.norm_before_gate ? y * g : y;
}

at::Tensor Mamba2Mixer::reference_mix(ReferencePass& pass, int layer,
                                      const at::Tensor& input) const {
  using reference::activated;
  const Mamba2Shape& shape = shape_;
  const std::int64_t inner = shape.inner, heads = shape.heads, mlp = shape.mlp_size,
                     states = shape.group_states();
  const at::Device device = input.device();
  const auto parts = reference::projected(input, weights_.in, weights_.in_bias)
                         .split_with_sizes({mlp, mlp, inner, shape.conv_channels(), heads}, -1);
  const at::Tensor a = pass.at(Site::kA, layer, parts[3].narrow(-1, 0, inner));
  const at::Tensor before =
      pass.at(Site::kXbc, layer, at::cat({a, parts[3].narrow(-1, inner, 2 * states)}, -1));
  const at::Tensor cut_taps =
      pass.cut(Block::Through::kConvolution, layer, shape.conv_channels(), device,
               [&](const Block& block) { return losing_taps(block, device); });
  const auto xbc = pass.at(Site::kConv, layer,
                           activated(reference::convolved(before, weights_.convolution, cut_taps),
                                     kernels::Activation::kSilu))
                       .split_with_sizes({inner, states, states}, -1);
  const auto by_head = [&](const at::Tensor& of_groups) {
    return of_groups.unflatten(-1, {shape.groups, shape.states})
        .repeat_interleave(heads / shape.groups, -2);
  };
  const at::Tensor x = xbc[0].unflatten(-1, {heads, shape.head_size});
  const at::Tensor raw = parts[4] + weights_.dual.dt_bias;
  const at::Tensor dt = at::softplus(raw).clamp(shape.dt_min, shape.dt_max);
  pass.decay(layer, [&] { return (dt * weights_.dual.a).exp(); });
  const at::Tensor cut = pass.cut(Block::Through::kState, layer, heads, device,
                                  [&](const Block& block) { return losing_state(block, device); });
  const at::Tensor skip =
      pass.at(Site::kSkip, layer, (x * weights_.dual.d.unsqueeze(1)).flatten(-2));
  const at::Tensor s = pass.at(
      Site::kS, layer,
      mixed(x, dt, by_head(xbc[1]), by_head(xbc[2]), weights_.dual.a, cut).flatten(-2) + skip);
  const at::Tensor g = pass.at(Site::kG, layer, activated(parts[2], kernels::Activation::kSilu));
  const at::Tensor y = pass.at(Site::kY, layer, gated(s, g));
  if (mlp == 0) return y;
  return at::cat({activated(parts[0], kernels::Activation::kSilu) * parts[1], y}, -1);
}

}  // namespace factflow
