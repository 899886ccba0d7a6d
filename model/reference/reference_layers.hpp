// One layer of each mixer's families in plain libtorch operations. h [tokens, hidden] is the stream
// that enters the layer; what comes back is the stream after it. All numbers are of h's type.
#pragma once

#include <ATen/ATen.h>

#include "model/architecture.hpp"
#include "model/families/mamba.hpp"
#include "model/families/mamba2.hpp"
#include "model/families/transformer.hpp"
#include "model/reference/reference_pass.hpp"

namespace factflow::reference {

at::Tensor transformer_layer(ReferencePass& pass, int index, const at::Tensor& h,
                             const TransformerShape& shape, const TransformerLayer& layer);
at::Tensor mamba_layer(ReferencePass& pass, int index, const at::Tensor& h, const MambaShape& shape,
                       const MambaLayer& layer);
at::Tensor mamba2_layer(ReferencePass& pass, int index, const at::Tensor& h,
                        const Mamba2Shape& shape, const Mamba2Layer& layer);

// x as the norm of the true stream: without the offset that the engine's stream lacks.
at::Tensor normalised(const at::Tensor& x, const Norm& norm);
// x / rms(x) over groups of `group` numbers, without a weight.
at::Tensor rms_normalised(const at::Tensor& x, std::int64_t group, double epsilon);
// x weight^T (+ bias, which may be undefined).
at::Tensor projected(const at::Tensor& x, const Projection& projection, const at::Tensor& bias);
at::Tensor activated(const at::Tensor& x, kernels::Activation activation);
// The causal depthwise convolution with its bias, before the activation. cut [tokens, tokens,
// channels]: taps that are 0.
at::Tensor convolved(const at::Tensor& x, const Convolution& convolution, const at::Tensor& cut);
// [width] true for what a block takes of a state-space model's channels or heads, by their decay.
at::Tensor losing_by_decay(const ChannelSet& set, const std::vector<double>& decay_norms,
                           at::Device device);

}  // namespace factflow::reference
