#include "model/projection.hpp"

#include <algorithm>
#include <stdexcept>

#include <torch/version.h>

#if defined(FACTFLOW_CUDA) && \
    (TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 8))
#define FACTFLOW_BF16_PRODUCTS
#endif

namespace factflow {
namespace {

// Longest piece of the inner dimension that a tensor core adds up alone: measured on an H100, one piece of
// 1280 is off by 3e-6 of the product's norm, of 2560 by 6e-6, of 5120 by 1.2e-5 (fp32: 0.9e-6 to 1.3e-6).
constexpr std::int64_t kLongestPiece = 1280;

void split(const kernels::Rows& rows, const at::Tensor& x, at::Tensor high, at::Tensor bf16, bool low_first) {
#ifdef FACTFLOW_CUDA
  kernels::SplitArgs args;
  args.x = {x.data_ptr<float>(), x.stride(0)};
  if (high.defined()) args.high = {high.data_ptr<float>(), high.stride(0)};
  args.bf16 = {reinterpret_cast<std::uint16_t*>(bf16.data_ptr()), bf16.stride(0)};
  args.rows = x.size(0);
  args.width = x.size(1);
  args.low_first = low_first;
  kernels::cuda_split(rows, args);
#else
  static_cast<void>(rows), static_cast<void>(x), static_cast<void>(high), static_cast<void>(bf16),
      static_cast<void>(low_first);
  throw std::logic_error("a product in parts without CUDA");
#endif
}

// out = a b^T of bfloat16 matrices, added up and written in float32.
void multiply_bf16(const at::Tensor& a, const at::Tensor& b, bool accumulate, at::Tensor out) {
#ifdef FACTFLOW_BF16_PRODUCTS
  if (accumulate)
    at::addmm_out(out, out, a, b.t(), at::kFloat);
  else
    at::mm_out(out, a, b.t(), at::kFloat);
#else
  static_cast<void>(a), static_cast<void>(b), static_cast<void>(accumulate), static_cast<void>(out);
  throw std::logic_error("a bfloat16 product without a libtorch that has it");
#endif
}

}  // namespace

Projection::Projection(const at::Tensor& weight, Precision precision)
    : outputs_(weight.size(0)), inputs_(weight.size(1)), precision_(precision) {
  if (precision == Precision::kBf16) {
    bf16_ = weight.to(at::kBFloat16).contiguous();
  } else if (precision == Precision::kTf32x3) {
    const at::Tensor x = weight.contiguous();
    weight_ = at::empty_like(x);
    bf16_ = at::empty({outputs_, 2 * inputs_}, x.options().dtype(at::kBFloat16));
    split({}, x, weight_, bf16_, false);
  } else {
    weight_ = weight;
  }
}

Factor factor_of(const kernels::Rows& rows, Workspace& workspace, const at::Tensor& x, Precision precision) {
  if (precision != Precision::kTf32x3 && precision != Precision::kBf16) return {x, {}};
  Factor factor;
  const bool parts = precision == Precision::kTf32x3;
  if (parts) factor.x = workspace.matrix("factor high", x.size(0), x.size(1));
  factor.bf16 = workspace.matrix("factor bf16", x.size(0), x.size(1) * (parts ? 2 : 1), at::kBFloat16);
  split(rows, x, factor.x, factor.bf16, true);
  return factor;
}

void multiply(const Factor& factor, const Projection& projection, const at::Tensor& bias, bool accumulate,
              at::Tensor out) {
  const bool fused_bias = bias.defined() && !accumulate && !projection.bf16().defined();
  if (projection.bf16().defined()) multiply_bf16(factor.bf16, projection.bf16(), accumulate, out);
  if (projection.precision() == Precision::kTf32x3) {
    const std::int64_t inputs = projection.inputs(), pieces = (inputs + kLongestPiece - 1) / kLongestPiece;
    const std::int64_t length = ((inputs + pieces - 1) / pieces + 7) / 8 * 8;
    for (std::int64_t begin = 0; begin < inputs; begin += length) {
      const std::int64_t count = std::min(length, inputs - begin);
      out.addmm_(factor.x.narrow(1, begin, count), projection.weight().narrow(1, begin, count).t());
    }
  } else if (projection.weight().defined()) {
    if (accumulate)
      out.addmm_(factor.x, projection.weight().t());
    else if (fused_bias)
      at::addmm_out(out, bias, factor.x, projection.weight().t());
    else
      at::mm_out(out, factor.x, projection.weight().t());
  }
  if (bias.defined() && !fused_bias) out.add_(bias);
}

void linear(const kernels::Rows& rows, Workspace& workspace, const at::Tensor& x,
            const Projection& projection, const at::Tensor& bias, at::Tensor out) {
  multiply(factor_of(rows, workspace, x, projection.precision()), projection, bias, false, out);
}

void add_linear(const kernels::Rows& rows, Workspace& workspace, const at::Tensor& x,
                const Projection& projection, const at::Tensor& bias, at::Tensor residual) {
  multiply(factor_of(rows, workspace, x, projection.precision()), projection, bias, true, residual);
}

std::int64_t factor_bytes(Precision precision, std::int64_t inputs) {
  if (precision == Precision::kTf32x3) return 8 * inputs;
  return precision == Precision::kBf16 ? 2 * inputs : 0;
}

bool bf16_products_supported() {
#ifdef FACTFLOW_BF16_PRODUCTS
  return true;
#else
  return false;
#endif
}

}  // namespace factflow
