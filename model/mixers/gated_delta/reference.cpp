#include <vector>

#include "model/mixers/gated_delta/gated_delta.hpp"
#include "model/reference/reference_ops.hpp"

namespace factflow {
namespace {

// 1 where a token's part enters the state that a target reads, [targets, value heads]; `lost`
// [target, source, value heads], undefined: all of it.
at::Tensor entering(const at::Tensor& lost, std::int64_t source, const at::Tensor& like) {
  return lost.defined() ? lost.select(1, source).logical_not().to(like.scalar_type())
                        : at::ones({1, 1}, like.options());
}

// o [.., tokens, value heads, value size]. With edges that can be lost, every target has a state of
// its own, [.., targets, value heads, key size, value size]; else all share one.
at::Tensor unrolled(const DeltaTokens& of, const at::Tensor& lost, const at::Tensor& unerased) {
  const std::int64_t tokens = of.values.size(-3);
  const auto at_token = [](const at::Tensor& all, std::int64_t dim, std::int64_t t) {
    return all.select(dim, t).unsqueeze(dim);  // a target of its own
  };
  at::Tensor state;
  std::vector<at::Tensor> read;
  for (std::int64_t s = 0; s < tokens; ++s) {
    const at::Tensor key = at_token(of.keys, -3, s), value = at_token(of.values, -3, s);
    const at::Tensor beta = at_token(of.beta, -2, s).unsqueeze(-1);
    const at::Tensor writes = entering(lost, s, value).unsqueeze(-1),
                     erases = entering(unerased, s, value).unsqueeze(-1);
    at::Tensor change = value * writes, decayed;
    if (state.defined()) {
      decayed = state * at_token(of.decay, -2, s).unsqueeze(-1).unsqueeze(-1);
      change = change - key.unsqueeze(-2).matmul(decayed).squeeze(-2) * erases;
    }
    const at::Tensor written = key.unsqueeze(-1) * (beta * change).unsqueeze(-2);
    state = decayed.defined() ? decayed + written : written;
    const at::Tensor own = lost.defined() ? state.select(-4, s) : state.select(-4, 0);
    read.push_back(of.queries.select(-3, s).unsqueeze(-2).matmul(own).squeeze(-2));
  }
  return at::stack(read, -3);
}

}  // namespace

at::Tensor GatedDelta::reference_mix(ReferencePass& pass, int layer, const at::Tensor& x) const {
  const GatedDeltaShape& shape = shape_;
  const at::Device device = x.device();
  const std::int64_t heads = shape.value_heads;
  const auto parts =
      reference::projected(x, weights_.in, {})
          .split_with_sizes({shape.conv_channels(), shape.values(), heads, heads}, -1);
  const auto losing = [&](const Block& block) { return losing_state(block, device); };
  const at::Tensor cut_taps =
      pass.cut(Block::Through::kConvolution, layer, shape.conv_channels(), device,
               [&](const Block& block) { return losing_taps(block, device); });
  const at::Tensor before = pass.at(Site::kQkv, layer, parts[0]);
  const at::Tensor qkv =
      pass.at(Site::kConv, layer,
              reference::activated(reference::convolved(before, weights_.convolution, cut_taps),
                                   kernels::Activation::kSilu));
  const at::Tensor lost = pass.cut(Block::Through::kState, layer, heads, device, losing),
                   unerased = pass.unerased(layer, heads, device, losing);
  const at::Tensor s = pass.at(
      Site::kS, layer, unrolled(tokens(qkv, parts[2], parts[3]), lost, unerased).flatten(-2));
  const at::Tensor g =
      pass.at(Site::kG, layer, reference::activated(parts[1], kernels::Activation::kSilu));
  return pass.at(Site::kY, layer, gated(s, g));
}

}  // namespace factflow
