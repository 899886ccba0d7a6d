// Kernels that treat every row of a matrix alike: norms, activations, convolution, answers. All are bound by memory, so each
// reads its input once, four numbers at a time where alignment allows.
#pragma once

#include "model/kernels/cuda_common.cuh"

namespace factflow::kernels {
namespace {

constexpr int kHeldFours = 8;  // float4 that a thread of a norm holds: widths up to 4 * kThreads * kHeldFours

__device__ inline float sum4(float4 v) { return (v.x + v.y) + (v.z + v.w); }

// Normalises the row that the block holds in registers; `write(j, value)` takes four normalised numbers.
template <class Write>
__device__ void norm_held(float4 (&held)[kHeldFours], std::int64_t width, bool subtract_mean, double epsilon, float* scratch, Write write) {
  const auto each = [&](auto function) {
#pragma unroll
    for (int i = 0; i < kHeldFours; ++i) {
      const std::int64_t j = 4 * (threadIdx.x + static_cast<std::int64_t>(i) * blockDim.x);
      if (j < width) function(j, held[i]);
    }
  };
  if (subtract_mean) {
    float sum = 0;
    each([&](std::int64_t, float4& v) { sum += sum4(v); });
    const float mean = block_sum(sum, scratch) / static_cast<float>(width);
    each([&](std::int64_t, float4& v) { v = make_float4(v.x - mean, v.y - mean, v.z - mean, v.w - mean); });
  }
  float square = 0;
  each([&](std::int64_t, float4& v) { square += sum4(make_float4(v.x * v.x, v.y * v.y, v.z * v.z, v.w * v.w)); });
  square = block_sum(square, scratch);
  const float scale = 1.0f / sqrtf(square / static_cast<float>(width) + static_cast<float>(epsilon));
  each([&](std::int64_t j, float4& v) { write(j, make_float4(v.x * scale, v.y * scale, v.z * scale, v.w * scale)); });
}

__device__ inline float4 times(float4 a, float4 b) { return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w); }
__device__ inline float4 plus(float4 a, float4 b) { return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w); }
__device__ inline float4 silu4(float4 a) { return make_float4(silu(a.x), silu(a.y), silu(a.z), silu(a.w)); }

// Widths of a multiple of four; out may be x.
__global__ void norm_wide_kernel(NormArgs<float> a) {
  __shared__ float scratch[32];
  const float* x = a.x.data + blockIdx.x * a.x.stride;
  float* out = a.out.data + blockIdx.x * a.out.stride;
  float4 held[kHeldFours];
#pragma unroll
  for (int i = 0; i < kHeldFours; ++i) {
    const std::int64_t j = 4 * (threadIdx.x + static_cast<std::int64_t>(i) * blockDim.x);
    if (j >= a.width) continue;
    held[i] = load4(x + j);
    if (a.offset != nullptr) held[i] = plus(held[i], load4(a.offset + j));
  }
  norm_held(held, a.width, a.subtract_mean, a.epsilon, scratch, [&](std::int64_t j, float4 value) {
    if (a.weight != nullptr) value = times(value, load4(a.weight + j));
    if (a.bias != nullptr) value = plus(value, load4(a.bias + j));
    store4(out + j, value);
  });
}

// Any width and alignment.
__global__ void norm_kernel(NormArgs<float> a) {
  __shared__ float scratch[32];
  const std::int64_t row = blockIdx.x;
  const float* x = a.x.data + row * a.x.stride;
  float* out = a.out.data + row * a.out.stride;
  const auto at = [&](std::int64_t j) { return a.offset != nullptr ? x[j] + a.offset[j] : x[j]; };
  float mean = 0;
  if (a.subtract_mean) {
    for (std::int64_t j = threadIdx.x; j < a.width; j += blockDim.x) mean += at(j);
    mean = block_sum(mean, scratch) / static_cast<float>(a.width);
  }
  float square = 0;
  for (std::int64_t j = threadIdx.x; j < a.width; j += blockDim.x) square += (at(j) - mean) * (at(j) - mean);
  square = block_sum(square, scratch);
  const float scale = 1.0f / sqrtf(square / static_cast<float>(a.width) + static_cast<float>(a.epsilon));
  for (std::int64_t j = threadIdx.x; j < a.width; j += blockDim.x) {
    float value = (at(j) - mean) * scale;
    if (a.weight != nullptr) value *= a.weight[j];
    if (a.bias != nullptr) value += a.bias[j];
    out[j] = value;
  }
}

inline void norm(const Rows& rows, const NormArgs<float>& a) {
  if (a.rows == 0) return;
  const bool wide = a.width % 4 == 0 && a.width <= 4 * kThreads * kHeldFours && in_fours(a.x.data, a.x.stride) &&
                    in_fours(a.out.data, a.out.stride) && in_fours(a.weight, 0) && in_fours(a.bias, 0) && in_fours(a.offset, 0);
  if (wide)
    norm_wide_kernel<<<static_cast<unsigned>(a.rows), threads_for(a.width), 0, stream_of(rows)>>>(a);
  else
    norm_kernel<<<static_cast<unsigned>(a.rows), kThreads, 0, stream_of(rows)>>>(a);
  check("norm");
}

// Groups of a multiple of four channels, held in registers between the two readings.
__global__ void gated_norm_wide_kernel(GatedNormArgs<float> a) {
  __shared__ float scratch[32];
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.y) * a.group;
  const float* y = a.y.data + blockIdx.x * a.y.stride + begin;
  const float* z = a.z.data + blockIdx.x * a.z.stride + begin;
  float* out = a.out.data + blockIdx.x * a.out.stride + begin;
  float4 held[kHeldFours];
#pragma unroll
  for (int i = 0; i < kHeldFours; ++i) {
    const std::int64_t j = 4 * (threadIdx.x + static_cast<std::int64_t>(i) * blockDim.x);
    if (j < a.group) held[i] = a.norm_before_gate ? load4(y + j) : times(load4(y + j), silu4(load4(z + j)));
  }
  norm_held(held, a.group, false, a.epsilon, scratch, [&](std::int64_t j, float4 value) {
    value = times(value, load4(a.weight + begin + j));
    store4(out + j, a.norm_before_gate ? times(value, silu4(load4(z + j))) : value);
  });
}

__global__ void gated_norm_kernel(GatedNormArgs<float> a) {
  __shared__ float scratch[32];
  const std::int64_t row = blockIdx.x, begin = static_cast<std::int64_t>(blockIdx.y) * a.group;
  const float* y = a.y.data + row * a.y.stride + begin;
  const float* z = a.z.data + row * a.z.stride + begin;
  float* out = a.out.data + row * a.out.stride + begin;
  const float* weight = a.weight + begin;
  float square = 0;
  for (std::int64_t j = threadIdx.x; j < a.group; j += blockDim.x) {
    const float value = a.norm_before_gate ? y[j] : y[j] * silu(z[j]);
    square += value * value;
    out[j] = value;
  }
  square = block_sum(square, scratch);
  const float scale = 1.0f / sqrtf(square / static_cast<float>(a.group) + static_cast<float>(a.epsilon));
  for (std::int64_t j = threadIdx.x; j < a.group; j += blockDim.x)
    out[j] *= scale * weight[j] * (a.norm_before_gate ? silu(z[j]) : 1.0f);
}

inline void gated_norm(const Rows& rows, const GatedNormArgs<float>& a) {
  if (a.rows == 0) return;
  const dim3 grid(static_cast<unsigned>(a.rows), static_cast<unsigned>(a.width / a.group));
  const bool wide = a.group % 4 == 0 && a.group <= 4 * kThreads * kHeldFours && in_fours(a.y.data, a.y.stride) &&
                    in_fours(a.z.data, a.z.stride) && in_fours(a.out.data, a.out.stride) && in_fours(a.weight, 0);
  if (wide)
    gated_norm_wide_kernel<<<grid, threads_for(a.group), 0, stream_of(rows)>>>(a);
  else
    gated_norm_kernel<<<grid, kThreads, 0, stream_of(rows)>>>(a);
  check("gated_norm");
}

__global__ void conv_kernel(Rows rows, ConvArgs<float> a) {
  const std::int32_t column = static_cast<std::int32_t>(blockIdx.x);
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
  if (channel >= a.channels) return;
  float sum = a.bias != nullptr ? a.bias[channel] : 0.0f;
  std::int32_t seen = column;
  for (int k = 0; k < a.kernel && seen >= 0; ++k, seen = rows.previous[seen])
    sum += a.weight[k * a.channels + channel] * a.x.data[seen * a.x.stride + channel];
  a.out.data[column * a.out.stride + channel] = silu(sum);
}

// The same for kernels of up to kMaxTaps tokens, which are looked up once, and four channels a thread.
constexpr int kMaxTaps = 4;
__global__ void conv_wide_kernel(Rows rows, ConvArgs<float> a) {
  const std::int32_t column = static_cast<std::int32_t>(blockIdx.x);
  std::int32_t seen[kMaxTaps];
  seen[0] = column;
#pragma unroll
  for (int k = 1; k < kMaxTaps; ++k) seen[k] = k < a.kernel && seen[k - 1] >= 0 ? rows.previous[seen[k - 1]] : -1;
  for (std::int64_t channel = 4 * static_cast<std::int64_t>(threadIdx.x); channel < a.channels; channel += 4 * blockDim.x) {
    float4 sum = a.bias != nullptr ? load4(a.bias + channel) : make_float4(0, 0, 0, 0);
#pragma unroll
    for (int k = 0; k < kMaxTaps; ++k)
      if (seen[k] >= 0) sum = plus(sum, times(load4(a.weight + k * a.channels + channel), load4(a.x.data + seen[k] * a.x.stride + channel)));
    store4(a.out.data + column * a.out.stride + channel, silu4(sum));
  }
}

inline void conv(const Rows& rows, const ConvArgs<float>& a) {
  if (rows.column_count == 0) return;
  if (a.kernel <= kMaxTaps && a.channels % 4 == 0 && in_fours(a.x.data, a.x.stride) && in_fours(a.out.data, a.out.stride) && in_fours(a.weight, 0) &&
      in_fours(a.bias, 0)) {
    conv_wide_kernel<<<static_cast<unsigned>(rows.column_count), threads_for(a.channels), 0, stream_of(rows)>>>(rows, a);
    check("conv_wide");
    return;
  }
  const dim3 grid(static_cast<unsigned>(rows.column_count), blocks_for(a.channels, kThreads));
  conv_kernel<<<grid, kThreads, 0, stream_of(rows)>>>(rows, a);
  check("conv");
}

__global__ void rotary_kernel(Rows rows, RotaryArgs<float> a) {
  const std::int32_t column = static_cast<std::int32_t>(blockIdx.x);
  const int half = a.rotary / 2;
  const float* cosine = a.cosine + static_cast<std::int64_t>(rows.position[column]) * half;
  const float* sine = a.sine + static_cast<std::int64_t>(rows.position[column]) * half;
  for (int j = static_cast<int>(threadIdx.x); j < a.count * half; j += static_cast<int>(blockDim.x)) {
    const int i = j % half;
    float* x = a.heads.data + column * a.heads.stride + (j / half) * a.head_size;
    const float low = x[i], high = x[i + half];
    x[i] = low * cosine[i] - high * sine[i];
    x[i + half] = high * cosine[i] + low * sine[i];
  }
}

inline void rotary(const Rows& rows, const RotaryArgs<float>& a) {
  if (rows.column_count == 0) return;
  rotary_kernel<<<static_cast<unsigned>(rows.column_count), kThreads, 0, stream_of(rows)>>>(rows, a);
  check("rotary");
}

__device__ inline float activate(Activation kind, float x) {
  switch (kind) {
    case Activation::kSilu: return silu(x);
    case Activation::kGeluTanh: return x * sigmoid(2.0f * 0.7978845608028654f * (x + 0.044715f * x * x * x));
    case Activation::kGelu: return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
    case Activation::kRelu: return fmaxf(x, 0.0f);
  }
  return x;
}

__global__ void activation_kernel(ActivationArgs<float> a) {
  const std::int64_t row = blockIdx.x, j = static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
  if (j >= a.width) return;
  const float value = activate(a.activation, a.gate.data[row * a.gate.stride + j]);
  a.out.data[row * a.out.stride + j] = a.up.data != nullptr ? value * a.up.data[row * a.up.stride + j] : value;
}

__global__ void activation_wide_kernel(ActivationArgs<float> a) {
  const std::int64_t row = blockIdx.x;
  for (std::int64_t j = 4 * static_cast<std::int64_t>(threadIdx.x); j < a.width; j += 4 * blockDim.x) {
    float4 value = load4(a.gate.data + row * a.gate.stride + j);
    value = make_float4(activate(a.activation, value.x), activate(a.activation, value.y), activate(a.activation, value.z),
                        activate(a.activation, value.w));
    if (a.up.data != nullptr) value = times(value, load4(a.up.data + row * a.up.stride + j));
    store4(a.out.data + row * a.out.stride + j, value);
  }
}

inline void activation(const Rows& rows, const ActivationArgs<float>& a) {
  if (a.rows == 0) return;
  if (a.width % 4 == 0 && in_fours(a.gate.data, a.gate.stride) && in_fours(a.up.data, a.up.stride) && in_fours(a.out.data, a.out.stride)) {
    activation_wide_kernel<<<static_cast<unsigned>(a.rows), threads_for(a.width), 0, stream_of(rows)>>>(a);
    check("activation_wide");
    return;
  }
  const dim3 grid(static_cast<unsigned>(a.rows), blocks_for(a.width, kThreads));
  activation_kernel<<<grid, kThreads, 0, stream_of(rows)>>>(a);
  check("activation");
}

__global__ void gather_kernel(GatherArgs<float> a, bool wide) {
  const std::int64_t row = blockIdx.x, from = a.index[row];
  const float* x = a.x.data + from * a.x.stride;
  float* out = a.out.data + row * a.out.stride;
  if (wide)
    for (std::int64_t j = 4 * static_cast<std::int64_t>(threadIdx.x); j < a.width; j += 4 * blockDim.x) store4(out + j, load4(x + j));
  else
    for (std::int64_t j = threadIdx.x; j < a.width; j += blockDim.x) out[j] = x[j];
}

inline void gather(const Rows& rows, const GatherArgs<float>& a) {
  if (a.rows == 0) return;
  const bool wide = a.width % 4 == 0 && in_fours(a.x.data, a.x.stride) && in_fours(a.out.data, a.out.stride);
  gather_kernel<<<static_cast<unsigned>(a.rows), threads_for(a.width), 0, stream_of(rows)>>>(a, wide);
  check("gather");
}

// One passage over the logits, four at a time: the sum of exponentials is kept relative to the largest logit met so far. A NaN
// stays in the sum, and so does an infinite logit, as inf - inf.
struct SoftmaxSum {
  float largest = -INFINITY, sum = 0, likelier = 0;

  __device__ void add(float4 x, float right) {
    const float next = fmaxf(fmaxf(largest, fmaxf(x.x, x.y)), fmaxf(x.z, x.w));
    sum = sum * expf(largest - next) + sum4(make_float4(expf(x.x - next), expf(x.y - next), expf(x.z - next), expf(x.w - next)));
    largest = next;
    // Exact: a vocabulary is far below 2^24.
    likelier += (x.x > right ? 1.0f : 0.0f) + (x.y > right ? 1.0f : 0.0f) + (x.z > right ? 1.0f : 0.0f) + (x.w > right ? 1.0f : 0.0f);
  }
};

__global__ void answer_kernel(AnswerArgs<float> a, bool wide) {
  __shared__ float scratch[32];
  __shared__ float largest_of[32];
  const std::int64_t row = blockIdx.x;
  const float* logits = a.logits.data + row * a.logits.stride;
  const float right = logits[a.answer[row]];
  SoftmaxSum own;
  const std::int64_t fours = wide ? a.vocabulary / 4 * 4 : 0;
  for (std::int64_t j = 4 * static_cast<std::int64_t>(threadIdx.x); j < fours; j += 4 * blockDim.x) own.add(load4(logits + j), right);
  for (std::int64_t j = fours + threadIdx.x; j < a.vocabulary; j += blockDim.x)
    own.add(make_float4(logits[j], -INFINITY, -INFINITY, -INFINITY), right);
  float largest = own.largest;
  for (int offset = 16; offset > 0; offset /= 2) largest = fmaxf(largest, __shfl_xor_sync(kAll, largest, offset));
  if (threadIdx.x % 32 == 0) largest_of[threadIdx.x / 32] = largest;
  __syncthreads();
  for (int w = 0; w < static_cast<int>(blockDim.x) / 32; ++w) largest = fmaxf(largest, largest_of[w]);
  // A thread that met nothing has largest = -inf and sum = 0.
  const float sum = block_sum(own.largest == -INFINITY ? own.sum : own.sum * expf(own.largest - largest), scratch);
  const float likelier = block_sum(own.likelier, scratch);
  if (threadIdx.x == 0) {
    a.log_probability[row] = static_cast<double>(right) - static_cast<double>(largest) - log(static_cast<double>(sum));
    a.rank[row] = 1 + static_cast<std::int32_t>(likelier);
  }
}

inline void answer(const Rows& rows, const AnswerArgs<float>& a) {
  if (a.rows == 0) return;
  answer_kernel<<<static_cast<unsigned>(a.rows), kThreads, 0, stream_of(rows)>>>(a, in_fours(a.logits.data, a.logits.stride));
  check("answer");
}

}  // namespace
}  // namespace factflow::kernels
