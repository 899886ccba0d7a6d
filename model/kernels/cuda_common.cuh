// What all CUDA kernels share: launches, rows, and the functions of one number.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "model/kernels/kernels.hpp"

namespace factflow::kernels {
namespace {

constexpr int kThreads = 256;
constexpr unsigned kAll = 0xffffffffu;
constexpr float kLog2E = 1.44269504088896341f;

struct LaunchShape {
  dim3 grid;
  int threads;                   // of a block
  std::size_t shared_bytes = 0;  // of dynamic_shared()
};

// Throws std::runtime_error if the device refuses. Without nvcc the kernel runs in
// tests/model/cuda_emulation.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), const LaunchShape& shape,
            const Rows& rows, const Arguments&... arguments) {
  const auto threads = static_cast<unsigned>(shape.threads);
#ifdef __CUDACC__
  kernel<<<shape.grid, threads, shape.shared_bytes, static_cast<cudaStream_t>(rows.stream)>>>(
      arguments...);
#else
  static_cast<void>(rows);
  emulation::launch(shape.grid, threads, shape.shared_bytes, [&] { kernel(arguments...); });
#endif
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess)
    throw std::runtime_error(std::string("CUDA kernel ") + name + ": " + cudaGetErrorString(error));
}

// Whether blocks of the kernel get so much shared memory.
template <class... Parameters>
bool have_shared(void (*kernel)(Parameters...), size_t bytes) {
  const bool have = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                         static_cast<int>(bytes)) == cudaSuccess;
  if (!have) static_cast<void>(cudaGetLastError());
  return have;
}

__device__ inline float* dynamic_shared() {
#ifdef __CUDACC__
  extern __shared__ __align__(16) float memory[];
  return memory;
#else
  return emulation::dynamic_shared();
#endif
}

inline unsigned blocks_for(std::int64_t items, int per_block) {
  return static_cast<unsigned>((items + per_block - 1) / per_block);
}

// Threads for `width` numbers taken four at a time, in as few turns as kThreads allow and with
// little idle in the last one.
inline int threads_for(std::int64_t width) {
  const std::int64_t fours = (width + 3) / 4, turns = (fours + kThreads - 1) / kThreads;
  const std::int64_t wanted = ((fours + turns - 1) / (turns > 0 ? turns : 1) + 31) / 32 * 32;
  return wanted < 32 ? 32 : static_cast<int>(wanted);
}

// Whether rows of a matrix can be read and written so many bytes at a time, or four numbers.
template <class T>
bool in_pieces(const T* data, std::int64_t stride, std::size_t bytes) {
  return stride * sizeof(T) % bytes == 0 && reinterpret_cast<std::uintptr_t>(data) % bytes == 0;
}
template <class T>
bool in_fours(const T* data, std::int64_t stride) {
  return in_pieces(data, stride, 4 * sizeof(T));
}
template <class T>
bool in_fours(const Factor<T>& out) {
  return in_fours(out.data, out.stride) && in_fours(out.high.data, out.high.stride) &&
         in_fours(out.parts.data, out.parts.stride) && out.width % 4 == 0;
}

// Activations are float or bfloat16 in memory and float in registers.
__device__ inline float load(const float* from) {
  return *from;
}
__device__ inline float load(const Bfloat16* from) {
  return __uint_as_float(static_cast<std::uint32_t>(from->bits) << 16);
}
__device__ inline float load(const Float16* from) {
  return __half2float(__ushort_as_half(from->bits));
}
__device__ inline void store(float* to, float value) {
  *to = value;
}
__device__ inline void store(Float16* to, float value) {
  to->bits = __half_as_ushort(__float2half_rn(value));
}
__device__ inline void store(Bfloat16* to, float value) {
  to->bits = __bfloat16_as_ushort(__float2bfloat16_rn(value));
}

__device__ inline float4 load4(const float* from) {
  return *reinterpret_cast<const float4*>(from);
}
__device__ inline float4 load4(const Bfloat16* from) {
  const uint2 x = *reinterpret_cast<const uint2*>(from);
  return make_float4(__uint_as_float(x.x << 16), __uint_as_float(x.x & 0xffff0000u),
                     __uint_as_float(x.y << 16), __uint_as_float(x.y & 0xffff0000u));
}
__device__ inline float4 load4(const Float16* from) {
  return make_float4(load(from), load(from + 1), load(from + 2), load(from + 3));
}

// The numbers of 16 bytes that nobody reads again, so that they displace nothing from the cache.
template <class Sixteen>
__device__ Sixteen load_once(const void* from) {
#ifdef __CUDACC__
  return __ldcs(static_cast<const Sixteen*>(from));
#else
  return *static_cast<const Sixteen*>(from);
#endif
}
__device__ inline void load_once(const float* from, float4 (&to)[1]) {
  to[0] = load_once<float4>(from);
}
__device__ inline float4 unpacked_halves(std::uint32_t first, std::uint32_t second) {
  const auto half = [](std::uint32_t bits) {
    return __half2float(__ushort_as_half(static_cast<std::uint16_t>(bits)));
  };
  return make_float4(half(first), half(first >> 16), half(second), half(second >> 16));
}
__device__ inline void load_once(const Float16* from, float4 (&to)[2]) {
  const uint4 x = load_once<uint4>(from);
  to[0] = unpacked_halves(x.x, x.y);
  to[1] = unpacked_halves(x.z, x.w);
}

__device__ inline void store4(float* to, float4 value) {
  *reinterpret_cast<float4*>(to) = value;
}
__device__ inline std::uint32_t packed(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  std::uint32_t bits;
  memcpy(&bits, &pair, sizeof(bits));
  return bits;
}
__device__ inline void store4(Bfloat16* to, float4 value) {
  const uint2 bits = make_uint2(packed(value.x, value.y), packed(value.z, value.w));
#ifdef __CUDACC__
  // An assignment may become two stores.
  asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(to), "r"(bits.x), "r"(bits.y) : "memory");
#else
  *reinterpret_cast<uint2*>(to) = bits;
#endif
}

__device__ inline void store4(Float16* to, float4 value) {
  store(to, value.x);
  store(to + 1, value.y);
  store(to + 2, value.z);
  store(to + 3, value.w);
}

__device__ inline float4 times(float4 a, float4 b) {
  return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w);
}
__device__ inline float4 times(float4 a, float b) {
  return make_float4(a.x * b, a.y * b, a.z * b, a.w * b);
}
__device__ inline float4 plus_times(float4 sum, float factor, float4 x) {
  return make_float4(sum.x + factor * x.x, sum.y + factor * x.y, sum.z + factor * x.z,
                     sum.w + factor * x.w);
}
__device__ inline float dot4(float4 a, float4 b) {
  return (a.x * b.x + a.y * b.y) + (a.z * b.z + a.w * b.w);
}

// To the nearest number of 11 significant bits, which TF32 holds exactly. Inf and NaN stay.
__device__ inline float to_tf32(float x) {
  const std::uint32_t bits = __float_as_uint(x);
  return (bits & 0x7f800000u) == 0x7f800000u ? x : __uint_as_float((bits + 0x1000u) & ~0x1fffu);
}

// base + index * bytes in one instruction.
template <class T>
__device__ inline T* at_row(T* base, std::int32_t index, std::int32_t bytes) {
#ifdef __CUDACC__
  T* address;
  asm("mad.wide.s32 %0, %1, %2, %3;" : "=l"(address) : "r"(index), "r"(bytes), "l"(base));
  return address;
#else
  return base + index * (bytes / static_cast<std::int64_t>(sizeof(T)));
#endif
}

// Number j of a row.
template <class T>
__device__ inline T* at_row(const Matrix<T>& matrix, std::int32_t row, std::int64_t j) {
  return at_row(matrix.data + j, row, static_cast<std::int32_t>(matrix.stride * sizeof(T)));
}

// Stores if `wanted`, without a branch, so that the value is on its way before it is known whether
// it is wanted.
__device__ inline void store_if(bool wanted, float* to, float value) {
#ifdef __CUDACC__
  asm volatile("{.reg .pred p; setp.ne.s32 p, %0, 0; @p st.global.f32 [%1], %2;}" ::"r"(
                   static_cast<int>(wanted)),
               "l"(to), "f"(value));
#else
  if (wanted) store(to, value);
#endif
}
__device__ inline void store_if(bool wanted, Bfloat16* to, float value) {
#ifdef __CUDACC__
  asm volatile("{.reg .pred p; setp.ne.s32 p, %0, 0; @p st.global.b16 [%1], %2;}" ::"r"(
                   static_cast<int>(wanted)),
               "l"(to), "h"(__bfloat16_as_ushort(__float2bfloat16_rn(value))));
#else
  if (wanted) store(to, value);
#endif
}

// Whether a factor is in parts. One of bfloat16 never is.
template <class T>
__device__ inline bool in_parts(const Factor<T>& out) {
  return std::is_same_v<T, float> && out.high.data != nullptr;
}

// Number j of a row of a factor.
template <class T>
__device__ inline void put(const Factor<T>& out, std::int64_t row, std::int64_t j, float value) {
  if (!in_parts(out) || out.data != nullptr) store(out.data + row * out.stride + j, value);
  if (!in_parts(out)) return;
  const float high = to_tf32(value);
  out.high.data[row * out.high.stride + j] = high;
  Bfloat16* parts = out.parts.data + row * out.parts.stride + j;
  store(parts, value - high);
  store(parts + out.width, high);
}

// The same if `wanted`.
template <class T>
__device__ inline void put_if(bool wanted, const Factor<T>& out, std::int32_t row, std::int64_t j,
                              float value) {
  if (in_parts(out)) {
    if (wanted) put(out, row, j, value);
  } else {
    store_if(wanted, at_row(out, row, j), value);
  }
}

// Numbers j to j + 3.
template <class T>
__device__ inline void put4(const Factor<T>& out, std::int64_t row, std::int64_t j, float4 v) {
  if (!in_parts(out) || out.data != nullptr) store4(out.data + row * out.stride + j, v);
  if (!in_parts(out)) return;
  const float4 high = make_float4(to_tf32(v.x), to_tf32(v.y), to_tf32(v.z), to_tf32(v.w));
  store4(out.high.data + row * out.high.stride + j, high);
  Bfloat16* parts = out.parts.data + row * out.parts.stride + j;
  store4(parts, make_float4(v.x - high.x, v.y - high.y, v.z - high.z, v.w - high.w));
  store4(parts + out.width, high);
}

template <class Replay>  // Row or LastToken
__device__ bool in_window(const Replay& replay, int layer) {
  return replay.flags >= 0 && layer >= replay.window_begin && layer < replay.window_end;
}

__device__ inline std::int32_t column_of(const Row& row, std::int32_t token) {
  return token < row.first_token ? row.clean_column + token : row.column + token - row.first_token;
}

// Edges that targets of the row do not see, from flags alone: what the kept state leaves out.
__device__ inline unsigned long long edges_not_seen(const Rows& rows, const Row& row) {
  unsigned long long edges = 0, skipped = 0;
  for (std::int32_t t = 0; t < row.first_token + row.count; ++t) {
    const std::uint8_t flag = rows.flags[row.flags + t];
    if ((flag & kSource) != 0) ++skipped;
    if ((flag & kTarget) != 0) edges += skipped;
  }
  return edges;
}

__device__ inline void count_row_edges(const Rows& rows, const Row& row) {
  if (threadIdx.x == 0) atomicAdd(rows.blocked, edges_not_seen(rows, row));
}

// The clean row of a slot.
__device__ inline std::int32_t clean_row_of(const Rows& rows, std::int32_t slot) {
  std::int32_t low = 0, high = rows.clean_count;  // slot_begin[low] <= slot < slot_begin[high]
  while (high - low > 1) {
    const std::int32_t middle = (low + high) / 2;
    (rows.slot_begin[middle] <= slot ? low : high) = middle;
  }
  return low;
}

// 2^x and 1/x in one instruction; results below the normal range become 0.
__device__ inline float exp2_fast(float x) {
#ifdef __CUDACC__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return exp2f(x);
#endif
}
__device__ inline float inverse_fast(float x) {
#ifdef __CUDACC__
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return 1.0f / x;
#endif
}

__device__ inline float sigmoid(float x) {
  return inverse_fast(1.0f + exp2_fast(-kLog2E * x));
}
__device__ inline float silu(float x) {
  return x * sigmoid(x);
}

// c[0] + c[1] x + ...
template <int count>
__device__ inline float polynomial(const float (&c)[count], float x) {
  float sum = c[count - 1];
#pragma unroll
  for (int i = count - 2; i >= 0; --i) sum = sum * x + c[i];
  return sum;
}

// log(1 + e^x) = max(x, 0) + log(1 + e), e = e^-|x| in (0, 1], and log(1 + e) / e by its minimax
// polynomial: exponentials are scarcer than multiplications, reciprocals as scarce. To 1.8e-7 of
// the result in float, and for an x that comes in bfloat16 to 8.4e-6, far below what its rounding
// is worth.
template <class T>
__device__ inline float softplus(float x) {
  const float e = exp2_fast(-kLog2E * fabsf(x));
  float series;
  if constexpr (std::is_same_v<T, Bfloat16>)
    series = polynomial({0.9999915957450867f, -0.4993613660335541f, 0.3252066969871521f,
                         -0.21004869043827057f, 0.10122225433588028f, -0.02386913076043129f},
                        e);
  else
    series = polynomial({0.9999999403953552f, -0.4999949336051941f, 0.3331909775733948f,
                         -0.2484298199415207f, 0.19106006622314453f, -0.13663245737552643f,
                         0.07822595536708832f, -0.02950523979961872f, 0.0052326940931379795f},
                        e);
  return fmaxf(x, 0.0f) + e * series;
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
