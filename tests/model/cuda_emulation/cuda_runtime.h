// As much of CUDA as model/kernels/*.cuh uses, in plain C++: the threads of a block are fibers that take
// turns, so kernels can be tested, and looked at with a sanitizer, where no GPU is. Stands in for CUDA's own
// header of this name.
//
// One block runs after the other, so shared variables are static ones. A shuffle or a barrier ends a fiber's
// turn. Which block comes next, which warp of it has the next turn, and in which order the warp's threads run is
// drawn from a seed: a kernel may count on none of it. Dynamic shared memory is full of NaN as a block begins. Copies to
// shared memory are done at once, or after copy_late(true) as late as the kernel allows.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#include <math.h>

#define __device__
#define __global__
#define __shared__ static
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned columns = 1, unsigned rows = 1, unsigned planes = 1) : x(columns), y(rows), z(planes) {}
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline uint2 make_uint2(unsigned x, unsigned y) {
  return {x, y};
}

using cudaStream_t = void*;
using cudaError_t = int;
inline constexpr cudaError_t cudaSuccess = 0;
inline constexpr int cudaFuncAttributeMaxDynamicSharedMemorySize = 0;
inline cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
inline const char* cudaGetErrorString(cudaError_t) {
  return "";
}
template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel, int, int) {
  return cudaSuccess;
}

namespace emulation {

// Runs `body` as every thread of every block. Throws std::logic_error if threads wait for each other in vain.
void launch(dim3 grid, unsigned threads, std::size_t shared_bytes, const std::function<void()>& body);
float* dynamic_shared();
void wait_for_block();
void wait_for_warp();
float shuffle_xor(float value, int mask);
unsigned ballot(bool vote);
void draw_orders_from(unsigned seed);

}  // namespace emulation

inline dim3 threadIdx, blockIdx, blockDim;

inline void __syncthreads() {
  emulation::wait_for_block();
}
inline void __syncwarp() {
  emulation::wait_for_warp();
}
inline float __shfl_xor_sync(unsigned, float value, int mask) {
  return emulation::shuffle_xor(value, mask);
}
inline unsigned __ballot_sync(unsigned, bool vote) {
  return emulation::ballot(vote);
}
inline int __popc(unsigned bits) {
  return __builtin_popcount(bits);
}

template <class T>
T atomicAdd(T* to, T value) {
  const T before = *to;
  *to += value;
  return before;
}

inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}
template <class T>
T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
T max(T a, T b) {
  return a < b ? b : a;
}
