#include <vector>

#include "model/mixers/rg_lru/rg_lru.hpp"
#include "model/reference/reference_ops.hpp"

namespace factflow {
namespace {

// h [.., tokens, width]. With edges that can be lost, [target, source, width], every target has a
// state of its own, [.., targets, width]; else all share one.
at::Tensor unrolled(const RgLruTokens& of, const at::Tensor& lost) {
  at::Tensor state;
  std::vector<at::Tensor> read;
  for (std::int64_t s = 0; s < of.input.size(-2); ++s) {
    at::Tensor input = of.input.narrow(-2, s, 1);
    if (lost.defined()) input = input * lost.select(1, s).logical_not().to(input.scalar_type());
    state = state.defined() ? state * of.decay.narrow(-2, s, 1) + input : input;
    read.push_back(lost.defined() ? state.select(-2, s) : state.select(-2, 0));
  }
  return at::stack(read, -2);
}

}  // namespace

at::Tensor RgLru::reference_mix(ReferencePass& pass, int layer, const at::Tensor& input) const {
  const at::Device device = input.device();
  const auto cut = [&](Block::Through through) {
    return pass.cut(through, layer, shape_.width, device,
                    [&](const Block& block) { return losing_state(block, device); });
  };
  const auto parts =
      reference::projected(input, weights_.in, weights_.in_bias).split(shape_.width, -1);
  const at::Tensor a = pass.at(Site::kA, layer, parts[0]);
  const at::Tensor x =
      pass.at(Site::kConv, layer,
              reference::convolved(a, weights_.convolution, cut(Block::Through::kConvolution)));
  const at::Tensor first = (at::arange(x.size(-2), x.options().dtype(at::kLong)) == 0).unsqueeze(1);
  const at::Tensor s =
      pass.at(Site::kS, layer, unrolled(tokens(x, first), cut(Block::Through::kState)));
  const at::Tensor g =
      pass.at(Site::kG, layer, reference::activated(parts[1], kernels::Activation::kGeluTanh));
  return pass.at(Site::kY, layer, s * g);
}

}  // namespace factflow
