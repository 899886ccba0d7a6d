#include "model/reference/reference_ops.hpp"

#include <numbers>

namespace factflow::reference {

at::Tensor normalised(const at::Tensor& x, const Norm& norm) {
  // A value of its own, so that a gradient at the site behind it is not that of the whole stream.
  if (norm.identity) return at::alias(x);
  const at::Tensor centred = norm.subtract_mean ? x - x.mean(-1, /*keepdim=*/true) : x;
  at::Tensor y = rms_normalised(centred, x.size(-1), norm.epsilon);
  if (norm.weight.defined()) y = y * norm.weight;
  return norm.bias.defined() ? y + norm.bias : y;
}

at::Tensor rms_normalised(const at::Tensor& x, std::int64_t group, double epsilon) {
  const at::Tensor groups = x.unflatten(-1, {-1, group});
  return (groups / (groups.square().mean(-1, /*keepdim=*/true) + epsilon).sqrt())
      .reshape(x.sizes());
}

at::Tensor projected(const at::Tensor& x, const Projection& projection, const at::Tensor& bias) {
  const at::Tensor y = x.matmul(projection.dense(x.scalar_type()).t());
  return bias.defined() ? y + bias.to(x.scalar_type()) : y;
}

at::Tensor activated(const at::Tensor& x, kernels::Activation activation) {
  using kernels::Activation;
  switch (activation) {
    case Activation::kSilu:
      return x * x.sigmoid();
    case Activation::kGeluTanh:
      return 0.5 * x *
             (1 +
              (std::numbers::sqrt2 * std::numbers::inv_sqrtpi * (x + 0.044715 * x * x * x)).tanh());
    case Activation::kGelu:
      return 0.5 * x * (1 + (x / std::numbers::sqrt2).erf());
    case Activation::kRelu:
      return x.clamp_min(0);
  }
  return x;
}

// One tap after the other: tap k of token t reads token t - k.
at::Tensor convolved(const at::Tensor& x, const Convolution& convolution, const at::Tensor& cut) {
  const std::int64_t tokens = x.size(-2), taps = convolution.weight.size(0);
  at::Tensor y = at::zeros_like(x);
  for (std::int64_t k = 0; k < taps && k < tokens; ++k) {
    at::Tensor read = x.narrow(-2, 0, tokens - k) * convolution.weight[k];
    // [tokens - k, channels]: whether token t still reads t - k.
    if (cut.defined()) read = read * cut.diagonal(-k, 0, 1).t().logical_not().to(x.scalar_type());
    y = y + at::constant_pad_nd(read, {0, 0, k, 0});
  }
  return convolution.bias.defined() ? y + convolution.bias : y;
}

}  // namespace factflow::reference
