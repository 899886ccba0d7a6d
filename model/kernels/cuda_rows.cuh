// Kernels that treat every row of a matrix alike: norms, activations, convolution, answers. All are
// bound by memory, so each reads its input once, four numbers at a time where alignment allows.
#pragma once

#include <cuda_pipeline_primitives.h>

#include "model/kernels/cuda_common.cuh"

namespace factflow::kernels {
namespace {

constexpr int kHeldFours = 8;   // float4 of its row that a thread of a norm holds
constexpr int kManyFours = 12;  // the same where that spares a row more than one warp

__device__ inline float sum4(float4 v) {
  return (v.x + v.y) + (v.z + v.w);
}
__device__ inline float4 plus(float4 a, float4 b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}
__device__ inline float4 silu4(float4 a) {
  return make_float4(silu(a.x), silu(a.y), silu(a.z), silu(a.w));
}

// The threads that share a row of a norm: a warp, which waits for no other one, or a whole block.
template <bool kWarp>
struct RowThreads {
  __device__ static std::int64_t row() {
    return kWarp ? static_cast<std::int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32
                 : blockIdx.x;
  }
  __device__ static int rank() { return static_cast<int>(kWarp ? threadIdx.x % 32 : threadIdx.x); }
  __device__ static int count() { return static_cast<int>(kWarp ? 32 : blockDim.x); }
  __device__ static float sum(float x) {
    __shared__ float scratch[32];
    return kWarp ? warp_sum(x) : block_sum(x, scratch);
  }
};

// A row of `width` numbers, a multiple of four, in the registers of its threads.
template <bool kWarp, int kFours = kHeldFours>
struct HeldRow {
  using Threads = RowThreads<kWarp>;
  float4 held[kFours];
  int width;

  __device__ explicit HeldRow(std::int64_t w) : width(static_cast<int>(w)) {}
  __device__ static int first_of(int i) { return 4 * (Threads::rank() + i * Threads::count()); }

  // With nothing between the loads, so that all are on their way at once.
  template <class T>
  __device__ void read(const T* from) {
#pragma unroll
    for (int i = 0; i < kFours; ++i) {
      const int j = first_of(i);
      held[i] = j < width ? load4(from + j) : make_float4(0, 0, 0, 0);
    }
  }
  template <class Function>  // function(j, numbers j to j + 3)
  __device__ void each(Function function) {
#pragma unroll
    for (int i = 0; i < kFours; ++i) {
      const int j = first_of(i);
      if (j < width) function(j, held[i]);
    }
  }
  __device__ void normalise(bool subtract_mean, double epsilon) {
    if (subtract_mean) {
      float sum = 0;
      each([&](int, float4& v) { sum += sum4(v); });
      const float mean = Threads::sum(sum) / static_cast<float>(width);
      each(
          [&](int, float4& v) { v = make_float4(v.x - mean, v.y - mean, v.z - mean, v.w - mean); });
    }
    float square = 0;
    each([&](int, float4& v) { square += sum4(times(v, v)); });
    square = Threads::sum(square);
    const float scale =
        1.0f / sqrtf(square / static_cast<float>(width) + static_cast<float>(epsilon));
    each([&](int, float4& v) { v = times(v, scale); });
  }
};

// How the rows of a norm of `width` are spread: warps, blocks of 128 or 256 threads, or 0 if no
// thread may hold so much.
inline int held_threads(std::int64_t width) {
  for (const int threads : {32, 128, kThreads})
    if (width <= std::int64_t{4} * kHeldFours * threads) return threads;
  return 0;
}

template <bool kAdds, bool kWarp, class T>
__global__ void norm_wide_kernel(NormArgs<T> a) {
  const std::int64_t row = RowThreads<kWarp>::row();
  if (row >= a.rows) return;
  HeldRow<kWarp> held(a.width);
  held.read(a.x.data + row * a.x.stride);
  // Asked once for the whole row: a branch between two loads would keep the second one waiting.
  if (a.offset != nullptr) held.each([&](int j, float4& v) { v = plus(v, load4(a.offset + j)); });
  held.normalise(a.subtract_mean, a.epsilon);
  if (a.weight != nullptr) held.each([&](int j, float4& v) { v = times(v, load4(a.weight + j)); });
  if (a.bias != nullptr) held.each([&](int j, float4& v) { v = plus(v, load4(a.bias + j)); });
  held.each([&](int j, float4 v) {
    if (kAdds) {
      float* const to = a.residual.data + row * a.residual.stride + j;
      store4(to, plus(load4(to), v));
    } else {
      put4(a.out, row, j, v);
    }
  });
}

// Any width and alignment; out may be x.
template <bool kAdds, class T>
__global__ void norm_kernel(NormArgs<T> a) {
  using Threads = RowThreads<false>;
  const std::int64_t row = blockIdx.x;
  const float* x = a.x.data + row * a.x.stride;
  const auto at = [&](std::int64_t j) { return a.offset != nullptr ? x[j] + a.offset[j] : x[j]; };
  float mean = 0;
  if (a.subtract_mean) {
    for (std::int64_t j = threadIdx.x; j < a.width; j += blockDim.x) mean += at(j);
    mean = Threads::sum(mean) / static_cast<float>(a.width);
  }
  float square = 0;
  for (std::int64_t j = threadIdx.x; j < a.width; j += blockDim.x)
    square += (at(j) - mean) * (at(j) - mean);
  square = Threads::sum(square);
  const float scale =
      1.0f / sqrtf(square / static_cast<float>(a.width) + static_cast<float>(a.epsilon));
  for (std::int64_t j = threadIdx.x; j < a.width; j += blockDim.x) {
    float value = (at(j) - mean) * scale;
    if (a.weight != nullptr) value *= a.weight[j];
    if (a.bias != nullptr) value += a.bias[j];
    if (kAdds)
      a.residual.data[row * a.residual.stride + j] += value;
    else
      put(a.out, row, j, value);
  }
}

template <bool kAdds, class T>
void norm_rows(const Rows& rows, const NormArgs<T>& a) {
  if (a.rows == 0) return;
  const int threads = held_threads(a.width);
  const bool wide = a.width % 4 == 0 && threads > 0 && in_fours(a.x.data, a.x.stride) &&
                    in_fours(a.out) && in_fours(a.weight, 0) && in_fours(a.bias, 0) &&
                    in_fours(a.offset, 0) && in_fours(a.residual.data, a.residual.stride);
  const auto count = static_cast<unsigned>(a.rows);
  if (!wide)
    launch("norm", norm_kernel<kAdds, T>, {count, kThreads}, rows, a);
  else if (threads == 32)
    launch("norm_wide", norm_wide_kernel<kAdds, true, T>,
           {blocks_for(a.rows, kThreads / 32), kThreads}, rows, a);
  else
    launch("norm_wide", norm_wide_kernel<kAdds, false, T>, {count, threads}, rows, a);
}

template <class T>
void norm(const Rows& rows, const NormArgs<T>& a) {
  if (a.residual.data != nullptr)
    norm_rows<true>(rows, a);
  else
    norm_rows<false>(rows, a);
}

// Without a gate; out may be y.
template <bool kWarp, class T>
__global__ void group_norm_wide_kernel(GatedNormArgs<T> a) {
  const std::int64_t row = RowThreads<kWarp>::row(),
                     begin = static_cast<std::int64_t>(blockIdx.y) * a.group;
  if (row >= a.rows) return;
  HeldRow<kWarp> held(a.group);
  held.read(a.y.data + row * a.y.stride + begin);
  held.normalise(false, a.epsilon);
  held.each(
      [&](int j, float4 v) { put4(a.out, row, begin + j, times(v, load4(a.weight + begin + j))); });
}

// The same for groups of up to 256 numbers, heads mostly: eight threads each hold up to eight
// float4, so that a warp has four groups.
template <class T>
__global__ void head_norm_kernel(GatedNormArgs<T> a) {
  constexpr int kLanes = 8;
  const std::int64_t groups = a.width / a.group;
  const std::int64_t item =
      (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kLanes;
  // Lanes of a missing group follow the last one and write nothing.
  const bool missing = item >= a.rows * groups;
  const std::int64_t own = missing ? a.rows * groups - 1 : item;
  const std::int64_t row = own / groups, begin = own % groups * a.group;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const T* y = a.y.data + row * a.y.stride + begin;
  float4 held[kHeldFours];
  float square = 0;
#pragma unroll
  for (int i = 0; i < kHeldFours; ++i) {
    const int j = 4 * (lane + i * kLanes);
    held[i] = j < a.group ? load4(y + j) : make_float4(0, 0, 0, 0);
    square += sum4(times(held[i], held[i]));
  }
#pragma unroll
  for (int offset = kLanes / 2; offset > 0; offset /= 2)
    square += __shfl_xor_sync(kAll, square, offset);
  if (missing) return;
  const float scale =
      1.0f / sqrtf(square / static_cast<float>(a.group) + static_cast<float>(a.epsilon));
#pragma unroll
  for (int i = 0; i < kHeldFours; ++i) {
    const int j = 4 * (lane + i * kLanes);
    if (j < a.group)
      put4(a.out, row, begin + j, times(times(held[i], scale), load4(a.weight + begin + j)));
  }
}

template <class T>
__global__ void group_norm_kernel(GatedNormArgs<T> a) {
  const std::int64_t row = blockIdx.x, begin = static_cast<std::int64_t>(blockIdx.y) * a.group;
  const T* y = a.y.data + row * a.y.stride + begin;
  float square = 0;
  for (std::int64_t j = threadIdx.x; j < a.group; j += blockDim.x)
    square += load(y + j) * load(y + j);
  square = RowThreads<false>::sum(square);
  const float scale =
      1.0f / sqrtf(square / static_cast<float>(a.group) + static_cast<float>(a.epsilon));
  for (std::int64_t j = threadIdx.x; j < a.group; j += blockDim.x)
    put(a.out, row, begin + j, load(y + j) * scale * a.weight[begin + j]);
}

template <class T>
void group_norm(const Rows& rows, const GatedNormArgs<T>& a) {
  const std::int64_t groups = a.width / a.group;
  const int threads = held_threads(a.group);
  const bool wide = a.group % 4 == 0 && threads > 0 && in_fours(a.y.data, a.y.stride) &&
                    in_fours(a.out) && in_fours(a.weight, 0);
  const dim3 grid(static_cast<unsigned>(a.rows), static_cast<unsigned>(groups));
  if (!wide)
    launch("group_norm", group_norm_kernel<T>, {grid, kThreads}, rows, a);
  else if (a.group <= 256)
    launch("head_norm", head_norm_kernel<T>, {blocks_for(a.rows * groups, kThreads / 8), kThreads},
           rows, a);
  else if (threads == 32)
    launch("group_norm_wide", group_norm_wide_kernel<true, T>,
           {dim3(blocks_for(a.rows, kThreads / 32), static_cast<unsigned>(groups)), kThreads}, rows,
           a);
  else
    launch("group_norm_wide", group_norm_wide_kernel<false, T>, {grid, threads}, rows, a);
}

// Groups of a multiple of four channels.
template <bool kWarp, int kFours, class T>
__global__ void __launch_bounds__(kThreads, kFours > kHeldFours ? 2 : 1)
    gated_norm_wide_kernel(GatedNormArgs<T> a) {
  const std::int64_t row = RowThreads<kWarp>::row(),
                     begin = static_cast<std::int64_t>(blockIdx.y) * a.group;
  if (row >= a.rows) return;
  const T* y = a.y.data + row * a.y.stride + begin;
  const T* z = a.z.data + row * a.z.stride + begin;
  HeldRow<kWarp, kFours> held(a.group), gate(a.group);
  held.read(y);
  gate.read(z);
  const auto apply_gate = [&] {
#pragma unroll
    for (int i = 0; i < kFours; ++i) held.held[i] = times(held.held[i], silu4(gate.held[i]));
  };
  if (!a.norm_before_gate) apply_gate();
  held.normalise(false, a.epsilon);
  if (a.norm_before_gate) apply_gate();
  held.each(
      [&](int j, float4 v) { put4(a.out, row, begin + j, times(v, load4(a.weight + begin + j))); });
}

template <class T>
__global__ void gated_norm_kernel(GatedNormArgs<T> a) {
  const std::int64_t row = blockIdx.x, begin = static_cast<std::int64_t>(blockIdx.y) * a.group;
  const T* y = a.y.data + row * a.y.stride + begin;
  const T* z = a.z.data + row * a.z.stride + begin;
  const auto at = [&](std::int64_t j) {
    return a.norm_before_gate ? load(y + j) : load(y + j) * silu(load(z + j));
  };
  float square = 0;
  for (std::int64_t j = threadIdx.x; j < a.group; j += blockDim.x) square += at(j) * at(j);
  square = RowThreads<false>::sum(square);
  const float scale =
      1.0f / sqrtf(square / static_cast<float>(a.group) + static_cast<float>(a.epsilon));
  for (std::int64_t j = threadIdx.x; j < a.group; j += blockDim.x)
    put(a.out, row, begin + j,
        at(j) * scale * a.weight[begin + j] * (a.norm_before_gate ? silu(load(z + j)) : 1.0f));
}

template <class T>
void gated_norm(const Rows& rows, const GatedNormArgs<T>& a) {
  if (a.rows == 0) return;
  if (a.z.data == nullptr) return group_norm(rows, a);
  const auto groups = static_cast<unsigned>(a.width / a.group);
  const int threads = held_threads(a.group);
  const bool wide = a.group % 4 == 0 && threads > 0 && in_fours(a.y.data, a.y.stride) &&
                    in_fours(a.z.data, a.z.stride) && in_fours(a.out) && in_fours(a.weight, 0);
  const dim3 grid(static_cast<unsigned>(a.rows), groups);
  const dim3 warps(blocks_for(a.rows, kThreads / 32), groups);
  if (!wide)
    launch("gated_norm", gated_norm_kernel<T>, {grid, kThreads}, rows, a);
  else if (threads == 32)
    launch("gated_norm_wide", gated_norm_wide_kernel<true, kHeldFours, T>, {warps, kThreads}, rows,
           a);
  else if (a.group <= 4 * 32 * kManyFours)
    launch("gated_norm_wide", gated_norm_wide_kernel<true, kManyFours, T>, {warps, kThreads}, rows,
           a);
  else
    launch("gated_norm_wide", gated_norm_wide_kernel<false, kHeldFours, T>, {grid, threads}, rows,
           a);
}

template <class T>
__global__ void conv_kernel(Rows rows, ConvArgs<T> a) {
  const std::int32_t column = static_cast<std::int32_t>(blockIdx.x);
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
  if (channel >= a.channels) return;
  float sum = a.bias != nullptr ? a.bias[channel] : 0.0f;
  std::int32_t seen = column;
  for (int k = 0; k < a.kernel && seen >= 0; ++k, seen = rows.before[seen].column[0])
    sum += a.weight[k * a.channels + channel] * load(a.x.data + seen * a.x.stride + channel);
  put(a.out, column, channel, silu(sum));
}

// The same for kernels of up to kMaxTaps tokens, four channels a thread. A block takes some columns
// in a row: often these are replays of one token of one prompt, which see the same tokens before
// their own, so those are loaded and added up once. What a thread adds up it copies to shared
// memory some columns before, so that memory is never idle.
constexpr int kMaxTaps = 4;
constexpr int kConvThreads = 128;
constexpr int kConvColumns = 16;
template <class T>
struct ConvQueue {
  // Columns on their way; the same in bytes for all types.
  static constexpr int kDepth = 16 / sizeof(T);
  // Of the column's own token and of those before it.
  T numbers[kDepth][kMaxTaps][4 * kConvThreads];
  struct alignas(16) {
    TokensBefore before;  // beyond the kernel's taps none
    bool differ;          // from those of the column before
  } tokens[kConvColumns];
};

template <class T>
__global__ void __launch_bounds__(kConvThreads) conv_wide_kernel(Rows rows, ConvArgs<T> a) {
  using Queue = ConvQueue<T>;
  __shared__ Queue queue;
  const std::int32_t first = static_cast<std::int32_t>(blockIdx.x) * kConvColumns;
  const std::int32_t count = min(kConvColumns, rows.column_count - first);
  if (const int i = static_cast<int>(threadIdx.x); i < count) {
    TokensBefore before = rows.before[first + i];
    queue.tokens[i].differ = i == 0 || before.column[0] != rows.before[first + i - 1].column[0];
#pragma unroll
    for (int k = 1; k < kMaxTaps; ++k)
      if (k >= a.kernel) before.column[k - 1] = -1;
    queue.tokens[i].before = before;
  }
  const std::int64_t channel =
      4 * (static_cast<std::int64_t>(blockIdx.y) * kConvThreads + threadIdx.x);
  const bool active = channel < a.channels;
  const float4 none = make_float4(0, 0, 0, 0);
  float4 weight[kMaxTaps];
#pragma unroll
  for (int k = 0; k < kMaxTaps; ++k)
    weight[k] = active && k < a.kernel ? load4(a.weight + k * a.channels + channel) : none;
  const float4 bias = active && a.bias != nullptr ? load4(a.bias + channel) : none;
  __syncthreads();
  if (!active) return;

  const auto place = [&](int i, int k) {
    return queue.numbers[i % Queue::kDepth][k] + 4 * threadIdx.x;
  };
  const auto fetch = [&](int i) {
    if (i < count) {
      __pipeline_memcpy_async(place(i, 0), at_row(a.x, first + i, channel), 4 * sizeof(T));
      if (queue.tokens[i].differ)
#pragma unroll
        for (int k = 1; k < kMaxTaps; ++k)
          if (queue.tokens[i].before.column[k - 1] >= 0)
            __pipeline_memcpy_async(place(i, k),
                                    at_row(a.x, queue.tokens[i].before.column[k - 1], channel),
                                    4 * sizeof(T));
    }
    __pipeline_commit();
  };
#pragma unroll 1
  for (int i = 0; i < Queue::kDepth; ++i) fetch(i);
  float4 past = bias;
  for (int turn = 0; turn < count; turn += Queue::kDepth) {
#pragma unroll
    for (int j = 0; j < Queue::kDepth; ++j) {
      const int i = turn + j;
      if (i >= count) break;
      __pipeline_wait_prior(Queue::kDepth - 1);
      if (queue.tokens[i].differ) {
        past = bias;
#pragma unroll
        for (int k = 1; k < kMaxTaps; ++k)
          if (queue.tokens[i].before.column[k - 1] >= 0)
            past = plus(past, times(weight[k], load4(place(j, k))));
      }
      const float4 own = load4(place(j, 0));
      fetch(i + Queue::kDepth);
      put4(a.out, first + i, channel, silu4(plus(past, times(weight[0], own))));
    }
  }
}

template <class T>
void conv(const Rows& rows, const ConvArgs<T>& a) {
  if (rows.column_count == 0) return;
  if (a.kernel <= kMaxTaps && a.channels % 4 == 0 && in_fours(a.x.data, a.x.stride) &&
      in_fours(a.out) && in_fours(a.weight, 0) && in_fours(a.bias, 0)) {
    const dim3 grid(blocks_for(rows.column_count, kConvColumns),
                    blocks_for(a.channels / 4, kConvThreads));
    launch("conv_wide", conv_wide_kernel<T>, {grid, kConvThreads}, rows, rows, a);
    return;
  }
  const dim3 grid(static_cast<unsigned>(rows.column_count), blocks_for(a.channels, kThreads));
  launch("conv", conv_kernel<T>, {grid, kThreads}, rows, rows, a);
}

template <class T>
__global__ void rotary_kernel(Rows rows, RotaryArgs<T> a) {
  const std::int32_t column = static_cast<std::int32_t>(blockIdx.x);
  const int half = a.rotary / 2;
  bool is_long = false;  // whether the prompt, all of it, is beyond the short tables
  if (a.long_cosine != nullptr) {
    const Row& row = rows.rows[rows.row_of[column]];
    is_long = row.first_token + row.count > a.short_tokens;
  }
  const std::int64_t at = static_cast<std::int64_t>(rows.position[column]) * half;
  const float* cosine = (is_long ? a.long_cosine : a.cosine) + at;
  const float* sine = (is_long ? a.long_sine : a.sine) + at;
  for (int j = static_cast<int>(threadIdx.x); j < a.count * half;
       j += static_cast<int>(blockDim.x)) {
    const int i = j % half;
    T* x = a.heads.data + column * a.heads.stride + (j / half) * a.head_size;
    const float low = load(x + i), high = load(x + i + half);
    store(x + i, low * cosine[i] - high * sine[i]);
    store(x + i + half, high * cosine[i] + low * sine[i]);
  }
}

template <class T>
void rotary(const Rows& rows, const RotaryArgs<T>& a) {
  if (rows.column_count == 0) return;
  launch("rotary", rotary_kernel<T>, {static_cast<unsigned>(rows.column_count), kThreads}, rows,
         rows, a);
}

__device__ inline float activate(Activation kind, float x) {
  switch (kind) {
    case Activation::kSilu:
      return silu(x);
    case Activation::kGeluTanh:
      return x * sigmoid(2.0f * 0.7978845608028654f * (x + 0.044715f * x * x * x));
    case Activation::kGelu:
      return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
    case Activation::kRelu:
      return fmaxf(x, 0.0f);
  }
  return x;
}

template <class T>
__global__ void activation_kernel(ActivationArgs<T> a) {
  const std::int64_t row = blockIdx.x,
                     j = static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
  if (j >= a.width) return;
  const float value = activate(a.activation, load(a.gate.data + row * a.gate.stride + j));
  put(a.out, row, j,
      a.up.data != nullptr ? value * load(a.up.data + row * a.up.stride + j) : value);
}

template <class T>
__global__ void activation_wide_kernel(ActivationArgs<T> a) {
  const std::int64_t row = blockIdx.x;
  for (std::int64_t j = 4 * static_cast<std::int64_t>(threadIdx.x); j < a.width;
       j += 4 * blockDim.x) {
    float4 value = load4(a.gate.data + row * a.gate.stride + j);
    value = make_float4(activate(a.activation, value.x), activate(a.activation, value.y),
                        activate(a.activation, value.z), activate(a.activation, value.w));
    if (a.up.data != nullptr) value = times(value, load4(a.up.data + row * a.up.stride + j));
    put4(a.out, row, j, value);
  }
}

template <class T>
void activation(const Rows& rows, const ActivationArgs<T>& a) {
  if (a.rows == 0) return;
  if (a.width % 4 == 0 && in_fours(a.gate.data, a.gate.stride) &&
      in_fours(a.up.data, a.up.stride) && in_fours(a.out)) {
    launch("activation_wide", activation_wide_kernel<T>,
           {static_cast<unsigned>(a.rows), threads_for(a.width)}, rows, a);
    return;
  }
  const dim3 grid(static_cast<unsigned>(a.rows), blocks_for(a.width, kThreads));
  launch("activation", activation_kernel<T>, {grid, kThreads}, rows, a);
}

__global__ void gather_kernel(GatherArgs<float> a, bool wide) {
  const std::int64_t row = blockIdx.x, from = a.index[row];
  const float* x = a.x.data + from * a.x.stride;
  float* out = a.out.data + row * a.out.stride;
  if (wide)
    for (std::int64_t j = 4 * static_cast<std::int64_t>(threadIdx.x); j < a.width;
         j += 4 * blockDim.x)
      store4(out + j, load4(x + j));
  else
    for (std::int64_t j = threadIdx.x; j < a.width; j += blockDim.x) out[j] = x[j];
}

inline void gather(const Rows& rows, const GatherArgs<float>& a) {
  if (a.rows == 0) return;
  const bool wide =
      a.width % 4 == 0 && in_fours(a.x.data, a.x.stride) && in_fours(a.out.data, a.out.stride);
  launch("gather", gather_kernel, {static_cast<unsigned>(a.rows), threads_for(a.width)}, rows, a,
         wide);
}

// What logits are of the numbers given: the numbers themselves, or scaled and capped, which is
// monotonic. What is no number stays -inf.
struct AsGiven {
  __device__ float operator()(float x) const { return x; }
};
struct Scaled {
  float factor, cap;  // cap 0: none
  __device__ float operator()(float x) const {
    const float y = x * factor;
    return cap == 0 || y == -INFINITY ? y : cap * tanhf(y / cap);
  }
};

// One passage over the logits: the sum of exponentials is kept relative to the largest logit met so
// far. The counts are exact: a vocabulary is far below 2^24.
template <class Logit>
struct SoftmaxSum {
  Logit logit;
  float largest = -INFINITY, sum = 0;
  float at_least = 0, equal = 0;  // logits not below the answer's, and equal to it
  float finite = 0;               // logits that are numbers

  // Some loads at a time, so that they overlap and the sum is rescaled once for all of them. What
  // is no logit is -inf.
  template <int kLoads, int kFours>
  __device__ void add(const float4 (&x)[kLoads][kFours], float right) {
    float next = largest;
#pragma unroll
    for (const auto& load : x)
#pragma unroll
      for (const float4& four : load)
        next = fmaxf(fmaxf(next, fmaxf(four.x, four.y)), fmaxf(four.z, four.w));
    const float top = logit(next);
    sum *= exponential(logit(largest) - top);
#pragma unroll
    for (const auto& load : x)
#pragma unroll
      for (const float4& four : load) {
        sum +=
            sum4(make_float4(exponential(logit(four.x) - top), exponential(logit(four.y) - top),
                             exponential(logit(four.z) - top), exponential(logit(four.w) - top)));
        at_least += count(four, [&](float number) { return number >= right; });
        equal += count(four, [&](float number) { return number == right; });
        finite += count(four, [](float number) { return fabsf(number) < INFINITY; });
      }
    largest = next;
  }
  __device__ static float exponential(float x) {
    return exp2_fast(x * kLog2E);
  }
  template <class Predicate>
  __device__ static float count(float4 x, Predicate predicate) {
    return sum4(make_float4(predicate(x.x), predicate(x.y), predicate(x.z), predicate(x.w)));
  }
};
constexpr int kNumbersAtOnce = 16;  // of a thread

template <class T, class Logit>
__global__ void answer_kernel(AnswerArgs<T> a, Logit logit, bool wide) {
  constexpr int kPerLoad = 16 / sizeof(T), kLoads = kNumbersAtOnce / kPerLoad,
                kFours = kPerLoad / 4;
  __shared__ float scratch[32];
  __shared__ float largest_of[32];
  const std::int64_t row = blockIdx.x;
  const T* logits = a.logits.data + row * a.logits.stride;
  const float right = load(logits + a.answer[row]);
  SoftmaxSum<Logit> own{logit};
  const float4 none = make_float4(-INFINITY, -INFINITY, -INFINITY, -INFINITY);
  const auto loaded = static_cast<int>(wide ? a.vocabulary / kPerLoad * kPerLoad : 0);
  for (int begin = kPerLoad * static_cast<int>(threadIdx.x); begin < loaded;
       begin += kNumbersAtOnce * static_cast<int>(blockDim.x)) {
    float4 x[kLoads][kFours];
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int j = begin + kPerLoad * i * static_cast<int>(blockDim.x);
      if (j < loaded) {
        load_once(logits + j, x[i]);
      } else {
#pragma unroll
        for (float4& four : x[i]) four = none;
      }
    }
    own.add(x, right);
  }
  for (std::int64_t j = loaded + static_cast<int>(threadIdx.x); j < a.vocabulary; j += blockDim.x) {
    const float4 x[1][1] = {{make_float4(load(logits + j), -INFINITY, -INFINITY, -INFINITY)}};
    own.add(x, right);
  }
  float largest = own.largest;
  for (int offset = 16; offset > 0; offset /= 2)
    largest = fmaxf(largest, __shfl_xor_sync(kAll, largest, offset));
  if (threadIdx.x % 32 == 0) largest_of[threadIdx.x / 32] = largest;
  __syncthreads();
  for (int w = 0; w < static_cast<int>(blockDim.x) / 32; ++w)
    largest = fmaxf(largest, largest_of[w]);
  // A thread that met nothing has largest = -inf and sum = 0.
  const float sum = block_sum(
      own.largest == -INFINITY ? own.sum : own.sum * expf(logit(own.largest) - logit(largest)),
      scratch);
  const float at_least = block_sum(own.at_least, scratch), equal = block_sum(own.equal, scratch),
              finite = block_sum(own.finite, scratch);
  if (threadIdx.x != 0) return;
  const bool number = static_cast<std::int64_t>(finite) == a.vocabulary;
  a.log_probability[row] = number ? static_cast<double>(logit(right)) -
                                        static_cast<double>(logit(largest)) -
                                        log(static_cast<double>(sum))
                                  : static_cast<double>(NAN);
  a.rank[row] = number ? static_cast<std::int32_t>(at_least) : kNoRank;  // the answer among them
  a.tied[row] = number ? static_cast<std::int32_t>(equal) - 1 : 0;
}

template <class T>
void answer(const Rows& rows, const AnswerArgs<T>& a) {
  if (a.rows == 0) return;
  const LaunchShape shape{static_cast<unsigned>(a.rows), kThreads};
  const bool wide = in_pieces(a.logits.data, a.logits.stride, 16);
  if (a.factor == 1 && a.cap == 0)
    launch("answer", answer_kernel<T, AsGiven>, shape, rows, a, AsGiven{}, wide);
  else
    launch("answer", answer_kernel<T, Scaled>, shape, rows, a,
           Scaled{static_cast<float>(a.factor), static_cast<float>(a.cap)}, wide);
}

}  // namespace
}  // namespace factflow::kernels
