#include "model/mixers/short_convolution/short_convolution.hpp"

#include <utility>

#include "model/mixers/row_scan.hpp"
#include "model/reference/reference_ops.hpp"

namespace factflow {

ShortConvolution::ShortConvolution(const ShortConvolutionShape& shape,
                                   ShortConvolutionWeights weights)
    : Mixer(std::move(weights.output)), shape_(shape), weights_(std::move(weights)) {}

// [width] true: a block takes them all.
at::Tensor ShortConvolution::losing_state(const Block&, at::Device device) const {
  return at::ones({shape_.width}, at::TensorOptions(device).dtype(at::kBool));
}

at::Tensor ShortConvolution::convolved(Step& step, const at::Tensor& a) const {
  if (!step.state_cut()) {
    const at::Tensor s = step.wide_matrix("s", shape_.width);
    filter(step.rows, weights_.convolution, /*cuts=*/true, a, s);
    return s;
  }
  return filtered(step, weights_.convolution, a,
                  [&](std::int64_t back) { return lost_edges(step, back).unsqueeze(1); });
}

Factor ShortConvolution::mix(Step& step, const Factor& input) const {
  const at::Tensor all = step.matrix("projected", 3 * std::int64_t{shape_.width});
  multiply(input, weights_.in, weights_.in_bias, all);
  const auto parts = all.to(step.hidden.scalar_type()).chunk(3, 1);
  const at::Tensor a = parts[0] * parts[2];
  step.at(Site::kA, {a});
  const at::Tensor s = convolved(step, a);
  step.at(Site::kS, {s});
  const at::Tensor g = parts[1].contiguous();
  step.at(Site::kG, {g});
  const Factor y = factor_of(step.rows, step.workspace, (s * g).to(all.scalar_type()));
  step.at(Site::kY, y);
  return y;
}

at::Tensor ShortConvolution::reference_mix(ReferencePass& pass, int layer,
                                           const at::Tensor& x) const {
  const auto parts = reference::projected(x, weights_.in, weights_.in_bias).chunk(3, -1);
  const at::Tensor cut =
      pass.cut(Block::Through::kState, layer, shape_.width, x.device(),
               [&](const Block& block) { return losing_state(block, x.device()); });
  const at::Tensor a = pass.at(Site::kA, layer, parts[0] * parts[2]);
  const at::Tensor s = pass.at(Site::kS, layer, reference::convolved(a, weights_.convolution, cut));
  const at::Tensor g = pass.at(Site::kG, layer, parts[1]);
  return pass.at(Site::kY, layer, s * g);
}

}  // namespace factflow
