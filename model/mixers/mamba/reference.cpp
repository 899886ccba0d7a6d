#include <vector>

#include "model/mixers/mamba/mamba.hpp"
#include "model/mixers/mamba/recurrence.hpp"
#include "model/mixers/state_space.hpp"
#include "model/reference/reference_ops.hpp"

namespace factflow {
namespace {

// y[t] = sum over s <= t of M[t, s] x[s] for each channel, where
//   M[t, s] = sum over states of C[t] exp(A (dt[s + 1] + ... + dt[t])) dt[s] B[s],
// of one prompt, without the entries of `cut`. One target after the other, so that only tokens x
// channels x states numbers exist at a time.
at::Tensor scanned(const at::Tensor& x, const at::Tensor& dt, const at::Tensor& b,
                   const at::Tensor& c, const at::Tensor& a, const at::Tensor& cut) {
  const at::Tensor elapsed = dt.cumsum(0), written = dt * x;  // [tokens, channels]
  std::vector<at::Tensor> rows;
  for (std::int64_t t = 0; t < x.size(0); ++t) {
    const auto until = [&](const at::Tensor& of) { return of.narrow(0, 0, t + 1); };
    // [sources, states, channels]
    const at::Tensor decay = ((elapsed[t] - until(elapsed)).unsqueeze(1) * a).exp();
    const at::Tensor mixing = (decay * (until(b) * c[t]).unsqueeze(2)).sum(1);
    rows.push_back((mixing * until(written)).masked_fill(until(cut[t]), 0).sum(0));
  }
  return at::stack(rows);
}

// exp(A dt), summed over the states: [.., tokens, channels]. One state after the other, so that it
// takes no more memory than dt.
at::Tensor left_of_state(const at::Tensor& dt, const at::Tensor& a) {
  at::Tensor left = at::zeros_like(dt);
  for (std::int64_t state = 0; state < a.size(0); ++state) left = left + (dt * a[state]).exp();
  return left;
}

}  // namespace

// [channels] true for those that a block takes.
at::Tensor MambaMixer::losing_state(const Block& block, at::Device device) const {
  if (const auto* some = std::get_if<Channels>(&block.selection))
    return chosen(some->indices, shape_.inner, device);
  return losing_by_decay(std::get<ChannelSet>(block.selection), weights_.decay_norms, device);
}

at::Tensor MambaMixer::reference_mix(ReferencePass& pass, int layer,
                                     const at::Tensor& input) const {
  using reference::activated;
  using reference::projected;
  const MambaShape& shape = shape_;
  const auto cut = [&](Block::Through through) {
    return pass.cut(through, layer, shape.inner, input.device(),
                    [&](const Block& block) { return losing_state(block, input.device()); });
  };
  const auto xz = projected(input, weights_.in, weights_.in_bias).split(shape.inner, -1);
  const at::Tensor a = pass.at(Site::kA, layer, xz[0]);
  const at::Tensor x = pass.at(
      Site::kConv, layer,
      activated(reference::convolved(a, weights_.convolution, cut(Block::Through::kConvolution)),
                kernels::Activation::kSilu));
  auto parts = projected(x, weights_.parameters, {})
                   .split_with_sizes({shape.time_step_rank, shape.states, shape.states}, -1);
  if (shape.normalise_parameters)
    for (size_t i = 0; i < parts.size(); ++i) {
      parts[i] = reference::rms_normalised(parts[i], parts[i].size(-1), shape.parameter_epsilon);
      if (shape.parameter_weights) parts[i] = parts[i] * weights_.parameter_norms[i];
    }
  const at::Tensor raw = projected(parts[0], weights_.time_step, weights_.scan.dt_bias);
  // libtorch's softplus is x itself above 20, and so is that of the library and of the kernels that
  // these models were trained with.
  const at::Tensor dt = at::softplus(raw);
  pass.decay(layer, [&] { return left_of_state(dt, weights_.scan.a); });
  const at::Tensor skip = pass.at(Site::kSkip, layer, x * weights_.scan.d);
  const at::Tensor edges = cut(Block::Through::kState);
  const at::Tensor mixed = edges.defined()
                               ? scanned(x, dt, parts[1], parts[2], weights_.scan.a, edges)
                               : recurred({dt * x, dt, parts[1], parts[2]}, weights_.scan.a);
  const at::Tensor s = pass.at(Site::kS, layer, mixed + skip);
  const at::Tensor g = pass.at(Site::kG, layer, activated(xz[1], kernels::Activation::kSilu));
  return pass.at(Site::kY, layer, s * g);
}

}  // namespace factflow
