// What the mixers' reference forwards share, in plain libtorch operations. All numbers are of the
// type of x, which is [.., tokens, width].
#pragma once

#include <ATen/ATen.h>

#include "model/ops.hpp"
#include "model/reference/reference_pass.hpp"

namespace factflow::reference {

// x as the norm of the true stream: without the offset that the engine's stream lacks.
at::Tensor normalised(const at::Tensor& x, const Norm& norm);
// x / rms(x) over groups of `group` numbers, without a weight.
at::Tensor rms_normalised(const at::Tensor& x, std::int64_t group, double epsilon);
// x weight^T (+ bias, which may be undefined).
at::Tensor projected(const at::Tensor& x, const Projection& projection, const at::Tensor& bias);
at::Tensor activated(const at::Tensor& x, kernels::Activation activation);
// The causal depthwise convolution with its bias, before the activation. cut [tokens, tokens,
// channels]: taps that are 0; undefined: none.
at::Tensor convolved(const at::Tensor& x, const Convolution& convolution, const at::Tensor& cut);

}  // namespace factflow::reference
