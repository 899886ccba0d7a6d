// Inputs of matrix products in the number types of the tensor cores, where no kernel before writes
// them so.
#pragma once

#include "model/kernels/cuda_common.cuh"

namespace factflow::kernels {
namespace {

template <class T>
__global__ void factor_kernel(Matrix<const float> x, Factor<T> out, std::int64_t width, bool wide) {
  const std::int64_t row = blockIdx.x;
  const float* from = x.data + row * x.stride;
  if (wide)
    for (std::int64_t j = 4 * static_cast<std::int64_t>(threadIdx.x); j < width;
         j += 4 * blockDim.x)
      put4(out, row, j, load4(from + j));
  else
    for (std::int64_t j = threadIdx.x; j < width; j += blockDim.x) put(out, row, j, from[j]);
}

template <class T>
void write_factor(const Rows& rows, const Matrix<const float>& x, const Factor<T>& out,
                  std::int64_t count, std::int64_t width) {
  if (count == 0) return;
  const bool wide = width % 4 == 0 && in_fours(x.data, x.stride) && in_fours(out);
  launch("factor", factor_kernel<T>, {static_cast<unsigned>(count), threads_for(width)}, rows, x,
         out, width, wide);
}

}  // namespace
}  // namespace factflow::kernels
