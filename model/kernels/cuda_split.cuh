// Inputs of matrix products in the number types of the tensor cores.
#pragma once

#include <cuda_bf16.h>

#include "model/kernels/cuda_common.cuh"

namespace factflow::kernels {
namespace {

// To the nearest number of 11 significant bits, which TF32 holds exactly. Inf and NaN stay.
__device__ inline float to_tf32(float x) {
  const std::uint32_t bits = __float_as_uint(x);
  return (bits & 0x7f800000u) == 0x7f800000u ? x : __uint_as_float((bits + 0x1000u) & ~0x1fffu);
}

__device__ inline std::uint16_t bf16_bits(float x) { return __bfloat16_as_ushort(__float2bfloat16_rn(x)); }

__device__ inline void split_one(const SplitArgs& a, float x, float* high, std::uint16_t* bf16, std::int64_t j) {
  if (high == nullptr) {
    bf16[j] = bf16_bits(x);
    return;
  }
  const float rounded = to_tf32(x);
  high[j] = rounded;
  bf16[j + (a.low_first ? a.width : 0)] = bf16_bits(rounded);
  bf16[j + (a.low_first ? 0 : a.width)] = bf16_bits(x - rounded);
}

__global__ void split_kernel(SplitArgs a) {
  const std::int64_t row = blockIdx.x;
  const float* x = a.x.data + row * a.x.stride;
  float* high = a.high.data == nullptr ? nullptr : a.high.data + row * a.high.stride;
  std::uint16_t* bf16 = a.bf16.data + row * a.bf16.stride;
  for (std::int64_t j = threadIdx.x; j < a.width; j += blockDim.x) split_one(a, x[j], high, bf16, j);
}

// The same, four numbers a thread.
__global__ void split_wide_kernel(SplitArgs a) {
  const std::int64_t row = blockIdx.x;
  const float* from = a.x.data + row * a.x.stride;
  std::uint16_t* bf16 = a.bf16.data + row * a.bf16.stride;
  const auto store = [&](std::int64_t j, float4 v) {
    *reinterpret_cast<ushort4*>(bf16 + j) = make_ushort4(bf16_bits(v.x), bf16_bits(v.y), bf16_bits(v.z), bf16_bits(v.w));
  };
  for (std::int64_t j = 4 * static_cast<std::int64_t>(threadIdx.x); j < a.width; j += 4 * blockDim.x) {
    const float4 x = load4(from + j);
    if (a.high.data == nullptr) {
      store(j, x);
      continue;
    }
    const float4 high = make_float4(to_tf32(x.x), to_tf32(x.y), to_tf32(x.z), to_tf32(x.w));
    store4(a.high.data + row * a.high.stride + j, high);
    store(j + (a.low_first ? a.width : 0), high);
    store(j + (a.low_first ? 0 : a.width), make_float4(x.x - high.x, x.y - high.y, x.z - high.z, x.w - high.w));
  }
}

inline void split(const Rows& rows, const SplitArgs& a) {
  if (a.rows == 0) return;
  const auto grid = static_cast<unsigned>(a.rows);
  const bool wide = a.width % 4 == 0 && in_fours(a.x.data, a.x.stride) && in_fours(a.high.data, a.high.stride) &&
                    a.bf16.stride % 4 == 0 && reinterpret_cast<std::uintptr_t>(a.bf16.data) % 8 == 0;
  if (wide)
    split_wide_kernel<<<grid, threads_for(a.width), 0, stream_of(rows)>>>(a);
  else
    split_kernel<<<grid, kThreads, 0, stream_of(rows)>>>(a);
  check("split");
}

}  // namespace
}  // namespace factflow::kernels
