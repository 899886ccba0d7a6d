// What all CUDA kernels share: launches, rows, and the functions of one number.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "model/kernels/kernels.hpp"

namespace factflow::kernels {
namespace {

constexpr int kThreads = 256;
constexpr unsigned kAll = 0xffffffffu;
constexpr float kLog2E = 1.44269504088896341f;

inline void check(const char* kernel) {
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA kernel ") + kernel + ": " + cudaGetErrorString(error));
}

inline cudaStream_t stream_of(const Rows& rows) { return static_cast<cudaStream_t>(rows.stream); }

inline unsigned blocks_for(std::int64_t items, int per_block) { return static_cast<unsigned>((items + per_block - 1) / per_block); }

// Threads for `width` numbers taken four at a time: whole warps, at most kThreads.
inline int threads_for(std::int64_t width) {
  const std::int64_t wanted = (width / 4 + 31) / 32 * 32;
  return wanted < 32 ? 32 : wanted > kThreads ? kThreads : static_cast<int>(wanted);
}

// Whether rows of a matrix can be read four numbers at a time.
inline bool in_fours(const void* data, std::int64_t stride) { return stride % 4 == 0 && reinterpret_cast<std::uintptr_t>(data) % 16 == 0; }

__device__ inline float4 load4(const float* from) { return *reinterpret_cast<const float4*>(from); }
__device__ inline void store4(float* to, float4 value) { *reinterpret_cast<float4*>(to) = value; }

__device__ inline bool in_window(const Row& row, int layer) {
  return row.flags >= 0 && layer >= row.window_begin && layer < row.window_end;
}

__device__ inline std::int32_t column_of(const Row& row, std::int32_t token) {
  return token < row.first_token ? row.clean_column + token : row.column + token - row.first_token;
}

__device__ inline float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }
__device__ inline float silu(float x) { return x * sigmoid(x); }
__device__ inline float softplus(float x) { return x > 20.0f ? x : log1pf(__expf(x)); }

// 2^x in one instruction; results below the normal range become 0.
__device__ inline float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ inline float warp_sum(float x) {
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(kAll, x, offset);
  return x;
}

// The sum over the block, in every thread. `scratch` holds 32 floats.
__device__ inline float block_sum(float x, float* scratch) {
  x = warp_sum(x);
  __syncthreads();
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  const int warps = static_cast<int>(blockDim.x) / 32;
  return warp_sum(static_cast<int>(threadIdx.x % 32) < warps ? scratch[threadIdx.x % 32] : 0.0f);
}

}  // namespace
}  // namespace factflow::kernels
