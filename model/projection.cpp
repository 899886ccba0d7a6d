#include "model/projection.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#ifdef FACTFLOW_CUDA
#include <ATen/cuda/CUDAContext.h>
#include <cublas_v2.h>
#endif

#include "model/blas.hpp"
#include "model/kernel_views.hpp"

namespace factflow {
namespace {

// Longest piece of the inner dimension that a tensor core adds up alone: measured on an H100, one
// piece of 1280 is off by 3e-6 of the product's norm, of 2560 by 6e-6, of 5120 by 1.2e-5 (fp32:
// 0.9e-6 to 1.3e-6).
constexpr std::int64_t kLongestPiece = 1280;

// Writes x as `out`, on a GPU.
void convert(const kernels::Rows& rows, const at::Tensor& x, const Factor& out) {
#ifdef FACTFLOW_CUDA
  const kernels::Matrix<const float> from = input<float>(x);
  if (out.high.defined())
    kernels::cuda_factor(rows, from, output<float>(out), x.size(0), x.size(1));
  else
    kernels::cuda_factor(rows, from, output<kernels::Bfloat16>(out), x.size(0), x.size(1));
#else
  static_cast<void>(rows), static_cast<void>(x), static_cast<void>(out);
  throw std::logic_error("a product in parts without CUDA");
#endif
}

// How a product is written: instead of what is there, or added to it, `scale` times.
struct Writing {
  bool accumulate = false;
  double scale = 1;
};

// out = (out +) scale a b^T of bfloat16 matrices, added up and written in float32. libtorch has it
// only lately, and copies `out`.
void multiply_bf16(const at::Tensor& a, const at::Tensor& b, Writing writing, at::Tensor out) {
#ifdef FACTFLOW_CUDA
  const auto alpha = static_cast<float>(writing.scale);
  const float beta = writing.accumulate ? 1 : 0;
  const auto stride = [](const at::Tensor& t) { return static_cast<int>(t.stride(0)); };
  const cublasStatus_t status = cublasGemmEx(
      at::cuda::getCurrentCUDABlasHandle(), CUBLAS_OP_T, CUBLAS_OP_N, static_cast<int>(b.size(0)),
      static_cast<int>(a.size(0)), static_cast<int>(a.size(1)), &alpha, b.data_ptr(), CUDA_R_16BF,
      stride(b), a.data_ptr(), CUDA_R_16BF, stride(a), &beta, out.data_ptr(), CUDA_R_32F,
      stride(out), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT_TENSOR_OP);
  if (status != CUBLAS_STATUS_SUCCESS)
    throw std::runtime_error(std::string("cuBLAS: ") + cublasGetStatusString(status));
#else
  static_cast<void>(a), static_cast<void>(b), static_cast<void>(writing), static_cast<void>(out);
  throw std::logic_error("a bfloat16 product without CUDA");
#endif
}

// out = a b^T + bias, or out += scale a b^T; `bias` may be undefined.
void multiply_alike(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias,
                    Writing writing, at::Tensor out) {
  if (Blas::multiply(a, b, writing.scale, writing.accumulate ? 1 : 0, out)) {
    if (!writing.accumulate && bias.defined()) out.add_(bias);
  } else if (writing.accumulate)
    out.addmm_(a, b.t(), /*beta=*/1, writing.scale);
  else if (bias.defined())
    at::addmm_out(out, bias, a, b.t());
  else
    at::mm_out(out, a, b.t());
}

void multiply_parts(const Factor& factor, const Projection& projection, const at::Tensor& bias,
                    Writing writing, at::Tensor out) {
  const std::int64_t inputs = projection.inputs(),
                     pieces = (inputs + kLongestPiece - 1) / kLongestPiece;
  const std::int64_t length = ((inputs + pieces - 1) / pieces + 7) / 8 * 8;
  for (std::int64_t begin = 0; begin < inputs; begin += length) {
    const std::int64_t count = std::min(length, inputs - begin);
    multiply_alike(factor.high.narrow(1, begin, count), projection.weight().narrow(1, begin, count),
                   bias, {writing.accumulate || begin > 0, writing.scale}, out);
  }
  multiply_bf16(factor.parts, projection.parts(), {true, writing.scale}, out);
}

void multiply(const Factor& factor, const Projection& projection, const at::Tensor& bias,
              Writing writing, at::Tensor out) {
  if (projection.precision() == Precision::kTf32x3)
    multiply_parts(factor, projection, bias, writing, out);
  else if (factor.numbers.scalar_type() == at::kBFloat16 && out.scalar_type() == at::kFloat)
    multiply_bf16(factor.numbers, projection.weight(), writing, out);
  else
    multiply_alike(factor.numbers, projection.weight(), bias, writing, out);
}

}  // namespace

Projection::Projection(const at::Tensor& weight, Precision precision, at::ScalarType inputs)
    : weight_(weight), precision_(precision) {
  if (weight.scalar_type() != inputs) weight_ = weight.to(inputs).contiguous();
  if (precision != Precision::kTf32x3) return;
  Workspace workspace(weight.device(), precision);
  const Factor factor = factor_of({}, workspace, weight.contiguous());
  weight_ = factor.high.clone();
  parts_ = at::cat({factor.parts.narrow(1, weight.size(1), weight.size(1)),
                    factor.parts.narrow(1, 0, weight.size(1))},
                   1);
}

at::Tensor Projection::dense(at::ScalarType type) const {
  const at::Tensor weight = weight_.to(type);
  return parts_.defined() ? weight + parts_.narrow(1, inputs(), inputs()).to(type) : weight;
}

Factor factor_of(const kernels::Rows& rows, Workspace& workspace, const at::Tensor& x,
                 const std::string& buffer) {
  if (x.scalar_type() == activation_type(workspace.precision()) &&
      workspace.precision() != Precision::kTf32x3)
    return {x};
  const Factor factor = workspace.factor(buffer, x.size(0), x.size(1));
  convert(rows, x, factor);
  return factor;
}

void multiply(const Factor& factor, const Projection& projection, const at::Tensor& bias,
              at::Tensor out) {
  multiply(factor, projection, bias, Writing{}, out);
  if (bias.defined() && projection.precision() == Precision::kBf16 &&
      out.scalar_type() == at::kFloat)
    out.add_(bias);
}

void multiply_into(const Factor& factor, const Projection& projection, const at::Tensor& bias,
                   at::Tensor residual, double scale) {
  multiply(factor, projection, {}, Writing{true, scale}, residual);
  if (bias.defined()) residual.add_(bias, scale);
}

bool multiply_gelu(const Factor& factor, const Projection& projection, const at::Tensor& bias,
                   at::Tensor out) {
  const bool rough =
      projection.precision() == Precision::kTf32 || projection.precision() == Precision::kBf16;
  if (!rough || !bias.defined()) return false;
  at::_addmm_activation_out(out, bias, factor.numbers, projection.weight().t(), 1, 1,
                            /*use_gelu=*/true);
  return true;
}

}  // namespace factflow
