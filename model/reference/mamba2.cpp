// The layer of Mamba-2.
#include "model/reference/reference_layers.hpp"

namespace factflow::reference {
namespace {

// [heads] true for those that a block takes.
at::Tensor losing_heads(const Block& block, const Mamba2Shape& shape, const Mamba2Layer& layer,
                        at::Device device) {
  if (const auto* some = std::get_if<Heads>(&block.selection))
    return chosen(some->indices, shape.heads, device);
  return losing_by_decay(std::get<ChannelSet>(block.selection), layer.decay_norms, device);
}

// [x, B, C of all groups] true for the channels that lose taps. B and C have no heads.
at::Tensor losing_taps(const Block& block, const Mamba2Shape& shape, const Mamba2Layer& layer,
                       at::Device device) {
  const auto* set = std::get_if<ChannelSet>(&block.selection);
  const bool all = set != nullptr && set->kind == ChannelSet::Kind::kAll;
  const ConvolutionParts parts = block.parts.value_or(ConvolutionParts{true, all, all});
  const auto* channels = std::get_if<Channels>(&block.selection);
  const at::Tensor x = channels != nullptr
                           ? chosen(channels->indices, shape.inner, device)
                           : losing_heads(block, shape, layer, device)
                                 .repeat_interleave(static_cast<std::int64_t>(shape.head_size));
  const auto whole = [&](bool loses) {
    return at::full({static_cast<std::int64_t>(shape.groups) * shape.states}, loses,
                    at::TensorOptions(device).dtype(at::kBool));
  };
  return at::cat({parts.x ? x : at::zeros_like(x), whole(parts.b), whole(parts.c)});
}

// y[t] = sum over s <= t of M[t, s] x[s] for each head, where
//   M[t, s] = (C[t] . B[s]) exp(a (dt[s + 1] + ... + dt[t])) dt[s],
// without the entries of `cut` [target, source, heads]. x [tokens, heads, head size]; b, c [tokens,
// heads, states]; dt [tokens, heads].
at::Tensor mixed(const at::Tensor& x, const at::Tensor& dt, const at::Tensor& b,
                 const at::Tensor& c, const at::Tensor& a, const at::Tensor& cut) {
  const at::Tensor elapsed = (dt * a).cumsum(0);
  const at::Tensor later = at::ones_like(cut.select(2, 0)).triu(1).unsqueeze(2);
  const at::Tensor decay = (elapsed.unsqueeze(1) - elapsed).masked_fill(later, 0).exp();
  const at::Tensor read = c.transpose(0, 1).matmul(b.permute({1, 2, 0})).permute({1, 2, 0});
  const at::Tensor mixing = (read * decay * dt).masked_fill(later | cut, 0);
  return mixing.permute({2, 0, 1}).matmul(x.transpose(0, 1)).transpose(0, 1);
}

// Norm and gate, in the order of the checkpoint.
at::Tensor gated(const at::Tensor& s, const at::Tensor& g, const Mamba2Shape& shape,
                 const Mamba2Layer& layer) {
  if (!shape.gated_norm) return s * g;
  const GatedNorm& norm = layer.gated_norm;
  const at::Tensor y =
      rms_normalised(norm.norm_before_gate ? s : s * g, norm.group, norm.epsilon) * norm.weight;
  return norm.norm_before_gate ? y * g : y;
}

}  // namespace

at::Tensor mamba2_layer(ReferencePass& pass, int index, const at::Tensor& h,
                        const Mamba2Shape& shape, const Mamba2Layer& layer) {
  const std::int64_t tokens = h.size(0), inner = shape.inner, heads = shape.heads,
                     mlp = shape.mlp_size,
                     states = static_cast<std::int64_t>(shape.groups) * shape.states,
                     convolution = inner + 2 * states;
  const at::Device device = h.device();
  const auto parts = projected(normalised(h, layer.norm), layer.in, layer.in_bias)
                         .split_with_sizes({mlp, mlp, inner, convolution, heads}, 1);
  const at::Tensor a = pass.at(Site::kA, index, parts[3].narrow(1, 0, inner));
  const at::Tensor before =
      pass.at(Site::kXbc, index, at::cat({a, parts[3].narrow(1, inner, 2 * states)}, 1));
  const at::Tensor cut_taps =
      pass.cut(Block::Through::kConvolution, index, convolution, device,
               [&](const Block& block) { return losing_taps(block, shape, layer, device); });
  const auto xbc =
      pass.at(Site::kConv, index,
              activated(convolved(before, layer.convolution, cut_taps), kernels::Activation::kSilu))
          .split_with_sizes({inner, states, states}, 1);
  const auto by_head = [&](const at::Tensor& of_groups) {
    return of_groups.reshape({tokens, shape.groups, shape.states})
        .repeat_interleave(heads / shape.groups, 1);
  };
  const at::Tensor x = xbc[0].reshape({tokens, heads, shape.head_size});
  const at::Tensor raw = parts[4] + layer.dual.dt_bias;
  const at::Tensor dt = at::softplus(raw).clamp(shape.dt_min, shape.dt_max);
  const at::Tensor cut =
      pass.cut(Block::Through::kState, index, heads, device,
               [&](const Block& block) { return losing_heads(block, shape, layer, device); });
  const at::Tensor skip =
      pass.at(Site::kSkip, index, (x * layer.dual.d.unsqueeze(1)).reshape({tokens, inner}));
  const at::Tensor s = pass.at(
      Site::kS, index,
      mixed(x, dt, by_head(xbc[1]), by_head(xbc[2]), layer.dual.a, cut).reshape({tokens, inner}) +
          skip);
  const at::Tensor g = pass.at(Site::kG, index, activated(parts[2], kernels::Activation::kSilu));
  const at::Tensor y = pass.at(Site::kY, index, gated(s, g, shape, layer));
  const at::Tensor into_output =
      mlp > 0 ? at::cat({activated(parts[0], kernels::Activation::kSilu) * parts[1], y}, 1) : y;
  return h + pass.at(Site::kO, index, projected(into_output, layer.out, layer.out_bias));
}

}  // namespace factflow::reference
