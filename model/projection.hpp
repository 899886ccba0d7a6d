// Products with weight matrices, in every precision. Everything else in a layer is a kernel (ops.hpp).
#pragma once

#include <cstdint>

#include <ATen/ATen.h>

#include "model/kernels/kernels.hpp"
#include "model/precision.hpp"
#include "model/workspace.hpp"

namespace factflow {

// A weight matrix [out, in] in the number types in which its precision multiplies.
//
// tf32x3 (Ootomo & Yokota 2022, with bfloat16 for the corrections): with x = high + low, high holding TF32's
// 11 bits,
//   x W^T = low W_high^T + high W_low^T + high W_high^T + (low W_low^T, which is dropped).
// The first two are one bfloat16 product over twice the inner dimension: they are 2^-12 of the whole, so 8
// bits suffice. The third is a TF32 product, in pieces of the inner dimension, since tensor cores add up with
// fewer bits than float32 has.
class Projection {
 public:
  Projection() = default;
  Projection(const at::Tensor& weight, Precision precision);  // [out, in]

  bool defined() const { return weight_.defined() || bf16_.defined(); }
  std::int64_t outputs() const { return outputs_; }
  std::int64_t inputs() const { return inputs_; }
  Precision precision() const { return precision_; }
  const at::Tensor& weight() const { return weight_; }  // as loaded, or W_high; undefined in bf16
  const at::Tensor& bf16() const { return bf16_; }      // W rounded, or W_high | W_low; undefined elsewhere

 private:
  at::Tensor weight_, bf16_;
  std::int64_t outputs_ = 0, inputs_ = 0;
  Precision precision_ = Precision::kFp32;
};

// What is multiplied, in the same number types: x or its high part, and the bfloat16 parts (low | high).
struct Factor {
  at::Tensor x;     // [rows, in]
  at::Tensor bf16;  // [rows, in] or [rows, 2 in]
};
// Makes the factor of x in buffers of the workspace, which the next call reuses.
Factor factor_of(const kernels::Rows& rows, Workspace& workspace, const at::Tensor& x, Precision precision);
// out = factor W^T (+ bias), or with `accumulate` out += factor W^T (+ bias).
void multiply(const Factor& factor, const Projection& projection, const at::Tensor& bias, bool accumulate,
              at::Tensor out);

// out = x W^T (+ bias)
void linear(const kernels::Rows& rows, Workspace& workspace, const at::Tensor& x,
            const Projection& projection, const at::Tensor& bias, at::Tensor out);
// residual += x W^T (+ bias)
void add_linear(const kernels::Rows& rows, Workspace& workspace, const at::Tensor& x,
                const Projection& projection, const at::Tensor& bias, at::Tensor residual);

// Bytes that factor_of keeps for one row of a product with `inputs` inputs.
std::int64_t factor_bytes(Precision precision, std::int64_t inputs);

// Whether this libtorch multiplies bfloat16 inputs into float32 outputs (2.8 or newer, with CUDA).
bool bf16_products_supported();

}  // namespace factflow
