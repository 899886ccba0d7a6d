// Products with weight matrices, in every precision. Everything else in a layer is a kernel
// (ops.hpp).
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include <ATen/ATen.h>

#include "model/kernels/kernels.hpp"
#include "model/precision.hpp"
#include "model/workspace.hpp"

namespace factflow {

// A weight matrix [out, in] in the number types in which its precision multiplies.
//
// tf32x3 (Ootomo & Yokota 2022, with bfloat16 for the corrections): with x = high + low, high
// holding TF32's 11 bits,
//   x W^T = low W_high^T + high W_low^T + high W_high^T + (low W_low^T, which is dropped).
// The first two are one bfloat16 product over twice the inner dimension: they are 2^-12 of the
// whole, so 8 bits suffice. The third is a TF32 product, in pieces of the inner dimension, since
// tensor cores add up with fewer bits than float32 has.
class Projection {
 public:
  // The tensor of a checkpoint, by the name that it has there, of which this is all: [in, out]
  // there if it is transposed.
  struct Source {
    std::string tensor = {};  // empty: of several tensors, or of none
    bool transposed = false;
  };

  Projection() = default;
  Projection(const at::Tensor& weight, Precision precision)  // [out, in]
      : Projection(weight, precision, activation_type(precision)) {}
  // Of inputs of another type than activations.
  Projection(const at::Tensor& weight, Precision precision, at::ScalarType inputs);

  bool defined() const { return weight_.defined(); }
  std::int64_t outputs() const { return weight_.size(0); }
  std::int64_t inputs() const { return weight_.size(1); }
  Precision precision() const { return precision_; }
  const at::Tensor& weight() const { return weight_; }  // in the inputs' type, in tf32x3 W_high
  const at::Tensor& parts() const { return parts_; }    // tf32x3: W_high | W_low
  // The matrix that is multiplied, as one of `type`.
  at::Tensor dense(at::ScalarType type) const;
  const Source& source() const { return source_; }
  void set_source(Source source) { source_ = std::move(source); }

 private:
  at::Tensor weight_, parts_;
  Precision precision_ = Precision::kFp32;
  Source source_;
};

// A product of a layer as it is computed there. For cost models and benchmarks.
struct LayerProduct {
  enum class Into {
    kActivations,
    kWide,
    kResidual
  };  // written as either type, or added to the residual stream
  const Projection* projection;
  Into into = Into::kActivations;
};

// x as a factor, for an x that no kernel wrote so; in buffers of the workspace, of this name, if it
// has to be converted.
Factor factor_of(const kernels::Rows& rows, Workspace& workspace, const at::Tensor& x,
                 const std::string& buffer = "converted");
// out = factor W^T (+ bias). `out` is of the inputs' type, and so is `bias`, or with bfloat16 both
// may be of float.
void multiply(const Factor& factor, const Projection& projection, const at::Tensor& bias,
              at::Tensor out);
// residual += scale (factor W^T (+ bias))
void multiply_into(const Factor& factor, const Projection& projection, const at::Tensor& bias,
                   at::Tensor residual, double scale = 1);
// out = gelu(factor W^T + bias), GELU's tanh form, in tf32 and bf16; else false, and nothing is
// done. cuBLAS's tanh costs less than a passage over memory, but six times fp32's error
// (docs/precision.md).
bool multiply_gelu(const Factor& factor, const Projection& projection, const at::Tensor& bias,
                   at::Tensor out);

}  // namespace factflow
