// RWKV's token shift: a column's own values mixed with those of the token before it.
#pragma once

#include <ATen/ATen.h>

#include "model/ops.hpp"

namespace factflow {

// [columns, width] the values of the token before each column's own, as its row sees it; zeros
// before the first token. values [columns, width], wide. On any device.
at::Tensor token_before(const Step& step, const at::Tensor& values);

// The same for the reference forward, [.., tokens, width].
at::Tensor token_before(const at::Tensor& values);

// A normalised stream [columns, width] as wide numbers.
at::Tensor wide_input(const Step& step, const Factor& input);

// [columns, outputs] wide: values [columns, inputs], wide, times a matrix.
at::Tensor wide_product(const Step& step, const at::Tensor& values, const Projection& matrix);

}  // namespace factflow
