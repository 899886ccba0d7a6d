// Interventions on CUDA (model/kernels/interventions.hpp). They touch few columns beside those that
// the mixing kernels have, so they are written to be plain, but for what sweeps do to every column
// of a window: sites and taps, which are bound by memory and read and write each number once.
#pragma once

#include "model/kernels/cuda_attention.cuh"
#include "model/kernels/cuda_common.cuh"
#include "model/kernels/cuda_dual.cuh"
#include "model/kernels/cuda_rows.cuh"
#include "model/kernels/cuda_scan.cuh"
#include "model/kernels/interventions.hpp"

namespace factflow::kernels {
namespace {

__device__ inline bool is_on(std::int32_t begin, std::int32_t end, std::int32_t layer) {
  return layer >= begin && layer < end;
}

// Number j of a row of a factor: the activation, or the sum of its parts.
template <class T>
__device__ inline float stored_number(const Factor<T>& value, std::int64_t row, std::int64_t j) {
  if (value.data != nullptr || !in_parts(value)) return load(value.data + row * value.stride + j);
  return value.high.data[row * value.high.stride + j] +
         load(value.parts.data + row * value.parts.stride + j);
}

// Numbers j to j + 3.
template <class T>
__device__ inline float4 stored_four(const Factor<T>& value, std::int64_t row, std::int64_t j) {
  if (value.data != nullptr || !in_parts(value)) return load4(value.data + row * value.stride + j);
  return plus_times(load4(value.high.data + row * value.high.stride + j), 1.0f,
                    load4(value.parts.data + row * value.parts.stride + j));
}

template <class T>
__device__ inline float offset_of(const SiteValue<T>& value, std::int64_t j) {
  return value.offset != nullptr ? value.offset[j] : 0.0f;
}

// The stored value of a source, for number i of those written, which is channel j.
template <class T>
__device__ inline float stored_source(const SiteArgs<T>& a, const SiteWrite& write, std::int64_t i,
                                      std::int64_t j) {
  switch (write.kind) {
    case SiteWrite::kVector:
      return a.constants[write.source + i] - offset_of(a.value, j);
    case SiteWrite::kColumn:
      return stored_number(a.value.stored, write.source, j);
    case SiteWrite::kMean:
      return a.means[write.source * a.value.width + j];
    case SiteWrite::kZero:
      break;
  }
  return -offset_of(a.value, j);
}

// What patches write: all channels of another column, as they are stored there.
__device__ inline bool copies_a_column(const SiteWrite& write) {
  return write.kind == SiteWrite::kColumn && write.channels < 0 && write.add == 0;
}

// Block: a target column. Its writes follow each other. kFours: columns can be copied four numbers
// at a time.
template <bool kFours, class T>
__global__ void site_write_kernel(Rows rows, SiteArgs<T> a) {
  const SiteTarget target = a.targets[blockIdx.x];
  if (target.column >= rows.column_count) return;
  for (std::int32_t w = target.begin; w < target.end; ++w) {
    const SiteWrite write = a.writes[w];
    if (!is_on(write.layer_begin, write.layer_end, rows.layer)) continue;
    if (kFours && copies_a_column(write)) {
      for (std::int64_t j = 4 * threadIdx.x; j < a.value.width; j += 4 * blockDim.x)
        put4(a.value.stored, target.column, j, stored_four(a.value.stored, write.source, j));
      __syncthreads();
      continue;
    }
    const std::int64_t count = write.channels < 0 ? a.value.width : write.count;
    for (std::int64_t i = threadIdx.x; i < count; i += blockDim.x) {
      const std::int64_t j = write.channels < 0 ? i : a.channels[write.channels + i];
      float value = stored_source(a, write, i, j);
      if (write.add != 0)
        value = stored_number(a.value.stored, target.column, j) +
                static_cast<float>(write.scale) * (value + offset_of(a.value, j));
      put(a.value.stored, target.column, j, value);
    }
    __syncthreads();
  }
}

template <class T>
void site_write(const Rows& rows, const SiteArgs<T>& a) {
  if (a.target_count == 0) return;
  const bool fours = a.value.width % 4 == 0 && in_fours(a.value.stored);
  launch("site_write", fours ? site_write_kernel<true, T> : site_write_kernel<false, T>,
         {static_cast<unsigned>(a.target_count), threads_for(a.value.width)}, rows, rows, a);
}

template <class T>
__global__ void site_read_kernel(SiteReadArgs<T> a) {
  for (std::int64_t j = threadIdx.x; j < a.value.width; j += blockDim.x)
    a.out[blockIdx.x * a.value.width + j] =
        stored_number(a.value.stored, a.columns[blockIdx.x], j) + offset_of(a.value, j);
}

template <class T>
void site_read(const Rows& rows, const SiteReadArgs<T>& a) {
  if (a.count == 0) return;
  launch("site_read", site_read_kernel<T>,
         {static_cast<unsigned>(a.count), threads_for(a.value.width)}, rows, a);
}

// Block (mean, tile of channels).
template <class T>
__global__ void site_mean_kernel(SiteMeanArgs<T> a) {
  const SiteMean mean = a.means[blockIdx.x];
  const std::int64_t j = static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
  if (j >= a.value.width) return;
  double sum = 0;
  for (std::int32_t c = mean.begin; c < mean.end; ++c)
    sum += static_cast<double>(stored_number(a.value.stored, a.columns[c], j));
  a.out[blockIdx.x * a.value.width + j] = static_cast<float>(sum / (mean.end - mean.begin));
}

template <class T>
void site_mean(const Rows& rows, const SiteMeanArgs<T>& a) {
  if (a.count == 0) return;
  const dim3 grid(static_cast<unsigned>(a.count), blocks_for(a.value.width, kThreads));
  launch("site_mean", site_mean_kernel<T>, {grid, kThreads}, rows, a);
}

// Block: a column. kFours: four numbers at a time.
template <bool kFours, class T>
__global__ void gate_open_kernel(GateArgs<T> a, Matrix<T> z) {
  const std::int64_t column = a.columns[blockIdx.x];
  T* const gate = z.data + column * z.stride;
  float* const g = a.g.data + column * a.g.stride;
  if constexpr (kFours) {
    for (std::int64_t j = 4 * threadIdx.x; j < a.width; j += 4 * blockDim.x) {
      store4(g + j, silu4(load4(gate + j)));
      store4(gate + j, make_float4(kOpenGate, kOpenGate, kOpenGate, kOpenGate));
    }
  } else {
    for (std::int64_t j = threadIdx.x; j < a.width; j += blockDim.x) {
      g[j] = silu(load(gate + j));
      store(gate + j, kOpenGate);
    }
  }
}

template <bool kFours, class T>
__global__ void gate_take_kernel(GateArgs<T> a, Factor<T> out) {
  const std::int64_t column = a.columns[blockIdx.x];
  float* const s = a.s.data + column * a.s.stride;
  if constexpr (kFours) {
    for (std::int64_t j = 4 * threadIdx.x; j < a.width; j += 4 * blockDim.x)
      store4(s + j, times(stored_four(out, column, j), 1.0f / kOpenGate));
  } else {
    for (std::int64_t j = threadIdx.x; j < a.width; j += blockDim.x)
      s[j] = stored_number(out, column, j) * (1.0f / kOpenGate);
  }
}

template <bool kFours, class T>
__global__ void gate_close_kernel(GateArgs<T> a, Factor<T> out) {
  const std::int64_t column = a.columns[blockIdx.x];
  const float* const s = a.s.data + column * a.s.stride;
  const float* const g = a.g.data + column * a.g.stride;
  if constexpr (kFours) {
    for (std::int64_t j = 4 * threadIdx.x; j < a.width; j += 4 * blockDim.x)
      put4(out, column, j, times(load4(s + j), load4(g + j)));
  } else {
    for (std::int64_t j = threadIdx.x; j < a.width; j += blockDim.x)
      put(out, column, j, s[j] * g[j]);
  }
}

template <class T>
bool in_fours(const GateArgs<T>& a) {
  return a.width % 4 == 0 && in_fours(a.g.data, a.g.stride) && in_fours(a.s.data, a.s.stride);
}

template <class T>
void gate_open(const Rows& rows, const GateArgs<T>& a, const Matrix<T>& z) {
  if (a.count == 0) return;
  const bool fours = in_fours(a) && in_fours(z.data, z.stride);
  launch("gate_open", fours ? gate_open_kernel<true, T> : gate_open_kernel<false, T>,
         {static_cast<unsigned>(a.count), threads_for(a.width)}, rows, a, z);
}

template <class T>
void gate_take(const Rows& rows, const GateArgs<T>& a, const Factor<T>& out) {
  if (a.count == 0) return;
  const bool fours = in_fours(a) && in_fours(out);
  launch("gate_take", fours ? gate_take_kernel<true, T> : gate_take_kernel<false, T>,
         {static_cast<unsigned>(a.count), threads_for(a.width)}, rows, a, out);
}

template <class T>
void gate_close(const Rows& rows, const GateArgs<T>& a, const Factor<T>& out) {
  if (a.count == 0) return;
  const bool fours = in_fours(a) && in_fours(out);
  launch("gate_close", fours ? gate_close_kernel<true, T> : gate_close_kernel<false, T>,
         {static_cast<unsigned>(a.count), threads_for(a.width)}, rows, a, out);
}

// What a column loses in a layer.
struct Losses {
  const Rows& rows;
  const CutArgs& cut;
  CutTarget target;
  Row row;
  std::int32_t t;
  bool any, skip;

  __device__ Losses(const Rows& all, const CutArgs& cuts, unsigned index)
      : rows(all), cut(cuts), target(cuts.targets[index]), row{}, t(0), any(false), skip(true) {
    if (target.column >= rows.column_count) return;
    for (std::int32_t i = target.begin; i < target.end; ++i) {
      if (!on(cut.terms[i])) continue;
      any = true;
      skip = skip && cut.terms[i].sources != kWithoutSkip;
    }
    row = rows.rows[rows.row_of[target.column]];
    t = rows.position[target.column];
  }
  __device__ bool on(const CutTerm& term) const {
    return is_on(term.layer_begin, term.layer_end, rows.layer);
  }
  __device__ bool cuts(const CutTerm& term, std::int32_t source) const {
    return on(term) && term.sources >= 0 && (rows.flags[term.sources + source] & kSource) != 0;
  }
  // Whether number `index` of a mask loses the edge from a token.
  __device__ bool loses(std::int32_t source, std::int64_t index) const {
    for (std::int32_t i = target.begin; i < target.end; ++i)
      if (cuts(cut.terms[i], source) && cut.masks[cut.terms[i].mask * cut.mask_width + index] != 0)
        return true;
    return false;
  }
  // Whether any number of a mask may lose the edge from a token.
  __device__ bool may_lose(std::int32_t source) const {
    for (std::int32_t i = target.begin; i < target.end; ++i)
      if (cuts(cut.terms[i], source)) return true;
    return false;
  }
  // Edges from the tokens [first, t] that are cut, each as often as it is asked for.
  __device__ void count(std::int32_t first) const {
    unsigned long long edges = 0;
    for (std::int32_t i = target.begin; i < target.end; ++i)
      for (std::int32_t s = first; s <= t; ++s) edges += cuts(cut.terms[i], s) ? 1 : 0;
    if (edges > 0) atomicAdd(rows.blocked, edges);
  }
  __device__ static bool counts() { return threadIdx.x == 0 && blockIdx.y == 0; }
};

// Block: a target.
template <class T>
__global__ void conv_cut_kernel(Rows rows, ConvArgs<T> a, CutArgs cut) {
  const Losses losses(rows, cut, blockIdx.x);
  if (!losses.any) return;
  const std::int32_t first = max(losses.t - a.kernel + 1, 0);
  if (Losses::counts()) losses.count(first);
  // Kernels have few taps; those beyond the bits ask for each channel.
  constexpr int kBits = 32;
  unsigned may_lose = 0;
  for (std::int32_t s = losses.t; s >= first && losses.t - s < kBits; --s)
    if (losses.may_lose(s)) may_lose |= 1u << (losses.t - s);
  for (std::int64_t channel = threadIdx.x; channel < a.channels; channel += blockDim.x) {
    float sum = a.bias != nullptr ? a.bias[channel] : 0.0f;
    for (std::int32_t s = losses.t; s >= first; --s) {
      const std::int32_t k = losses.t - s;
      if ((k >= kBits || (may_lose >> k & 1u) != 0) && losses.loses(s, channel)) continue;
      sum += a.weight[k * a.channels + channel] *
             load(a.x.data + column_of(losses.row, s) * a.x.stride + channel);
    }
    put(a.out, losses.target.column, channel, silu(sum));
  }
}

template <class T>
void conv_cut(const Rows& rows, const ConvArgs<T>& a, const CutArgs& cut) {
  if (cut.target_count == 0) return;
  launch("conv_cut", conv_cut_kernel<T>,
         {static_cast<unsigned>(cut.target_count), threads_for(a.channels)}, rows, rows, a, cut);
}

// A column's state is scanned anew from the first token on. Block (target, tile of channels).
template <class T>
__global__ void scan_cut_kernel(Rows rows, ScanArgs<T> a, CutArgs cut) {
  const Losses losses(rows, cut, blockIdx.x);
  if (!losses.any) return;
  if (Losses::counts()) losses.count(0);
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
  if (channel >= a.channels) return;
  float rate[kMaxStates], h[kMaxStates] = {};
  load_a(a, channel, rate);
  for (std::int32_t s = 0; s <= losses.t; ++s) {
    const std::int64_t seen = column_of(losses.row, s);
    const float dt =
        softplus<T>(load(a.dt.data + seen * a.dt.stride + channel) + a.dt_bias[channel]);
    const float input =
        losses.loses(s, channel) ? 0.0f : dt * load(a.x.data + seen * a.x.stride + channel);
    const T* b = a.b.data + seen * a.b.stride;
#pragma unroll
    for (int n = 0; n < kMaxStates; ++n)
      if (n < a.state_count) h[n] = exp2_fast(dt * rate[n]) * h[n] + load(b + n) * input;
  }
  const std::int64_t column = losses.target.column;
  const T* c = a.c.data + column * a.c.stride;
  float y = losses.skip ? a.d[channel] * load(a.x.data + column * a.x.stride + channel) : 0.0f;
#pragma unroll
  for (int n = 0; n < kMaxStates; ++n)
    if (n < a.state_count) y += load(c + n) * h[n];
  put(a.out, column, channel, y * silu(load(a.z.data + column * a.z.stride + channel)));
}

template <class T>
void scan_cut(const Rows& rows, const ScanArgs<T>& a, const CutArgs& cut) {
  if (cut.target_count == 0) return;
  const dim3 grid(static_cast<unsigned>(cut.target_count), blocks_for(a.channels, kThreads));
  launch("scan_cut", scan_cut_kernel<T>, {grid, kThreads}, rows, rows, a, cut);
}

// Block (target, group). First C . B of every token that the column sees, then each channel walks
// back over them.
template <class T>
__global__ void dual_cut_kernel(Rows rows, DualArgs<T> a, CutArgs cut) {
  const Losses losses(rows, cut, blockIdx.x);
  if (!losses.any) return;
  if (Losses::counts()) losses.count(0);
  float* const score = dynamic_shared();
  const int group = static_cast<int>(blockIdx.y), lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t column = losses.target.column;
  const T* c = a.c.data + column * a.c.stride + static_cast<std::int64_t>(group) * a.states;
  for (std::int32_t s = static_cast<std::int32_t>(threadIdx.x) / 32; s <= losses.t;
       s += static_cast<std::int32_t>(blockDim.x) / 32) {
    const T* b = a.b.data + column_of(losses.row, s) * a.b.stride +
                 static_cast<std::int64_t>(group) * a.states;
    float sum = 0;
    for (int n = lane; n < a.states; n += 32) sum += load(c + n) * load(b + n);
    sum = warp_sum(sum);
    if (lane == 0) score[s] = sum;
  }
  __syncthreads();
  const int heads = a.heads / a.groups;
  for (int j = static_cast<int>(threadIdx.x); j < heads * a.head_size; j += kThreads) {
    const int head = group * heads + j / a.head_size;
    const std::int64_t channel = static_cast<std::int64_t>(group) * heads * a.head_size + j;
    float y = losses.skip ? a.d[head] * load(a.x.data + column * a.x.stride + channel) : 0.0f;
    float segment = 0;
    for (std::int32_t s = losses.t; s >= 0; --s) {
      const std::int64_t seen = column_of(losses.row, s);
      const float raw = load(a.dt.data + seen * a.dt.stride + head) + a.dt_bias[head];
      const float dt = fminf(fmaxf(softplus<T>(raw), static_cast<float>(a.dt_min)),
                             static_cast<float>(a.dt_max));
      if (!losses.loses(s, head))
        y += score[s] * exp2_fast(kLog2E * segment) * dt *
             load(a.x.data + seen * a.x.stride + channel);
      segment += dt * a.a[head];
    }
    store(a.out.data + column * a.out.stride + channel, y);
  }
}

template <class T>
void dual_cut(const Rows& rows, const DualArgs<T>& a, const CutArgs& cut) {
  if (cut.target_count == 0) return;
  const size_t bytes = static_cast<size_t>(rows.longest) * sizeof(float);
  if (!have_shared(dual_cut_kernel<T>, bytes))
    throw std::runtime_error("a prompt is too long for this GPU's interventions; device: cpu");
  const dim3 grid(static_cast<unsigned>(cut.target_count), static_cast<unsigned>(a.groups));
  launch("dual_cut", dual_cut_kernel<T>, {grid, kThreads, bytes}, rows, rows, a, cut);
}

// Block (target, heads): a head for each warp.
template <class T>
__global__ void attention_cut_kernel(Rows rows, AttentionArgs<T> a, CutArgs cut) {
  const Losses losses(rows, cut, blockIdx.x);
  if (!losses.any) return;
  const std::int32_t begin = a.sliding_window > 0 ? max(losses.t - a.sliding_window + 1, 0) : 0;
  if (Losses::counts()) losses.count(begin);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int head =
      static_cast<int>(blockIdx.y) * (kThreads / 32) + static_cast<int>(threadIdx.x) / 32;
  if (head >= a.heads) return;
  const std::int64_t column = losses.target.column;
  const std::int64_t key_head =
      static_cast<std::int64_t>(head / (a.heads / a.key_heads)) * a.head_size;
  const T* q = a.q.data + column * a.q.stride + static_cast<std::int64_t>(head) * a.head_size;
  float query[kMaxHeadParts], sum[kMaxHeadParts];
#pragma unroll
  for (int p = 0; p < kMaxHeadParts; ++p) {
    query[p] =
        p * 32 + lane < a.head_size ? load(q + p * 32 + lane) * static_cast<float>(a.scale) : 0.0f;
    sum[p] = 0;
  }
  float largest = -INFINITY, total = 0;
  for (std::int32_t s = begin; s <= losses.t; ++s) {
    if (losses.loses(s, head)) continue;
    const std::int64_t seen = column_of(losses.row, s);
    const T* k = a.k.data + seen * a.k.stride + key_head;
    const T* v = a.v.data + seen * a.v.stride + key_head;
    float score = 0;
#pragma unroll
    for (int p = 0; p < kMaxHeadParts; ++p)
      if (p * 32 + lane < a.head_size) score += query[p] * load(k + p * 32 + lane);
    score = warp_sum(score);
    if (a.score_cap > 0) score = capped(score, a.score_cap);
    const float next = fmaxf(largest, score), shrink = expf(largest - next),
                weight = expf(score - next);
    total = total * shrink + weight;
#pragma unroll
    for (int p = 0; p < kMaxHeadParts; ++p)
      if (p * 32 + lane < a.head_size) sum[p] = sum[p] * shrink + weight * load(v + p * 32 + lane);
    largest = next;
  }
#pragma unroll
  for (int p = 0; p < kMaxHeadParts; ++p)
    if (p * 32 + lane < a.head_size)
      put(a.out, column, static_cast<std::int64_t>(head) * a.head_size + p * 32 + lane,
          largest == -INFINITY ? 0.0f : sum[p] / total);
}

template <class T>
void attention_cut(const Rows& rows, const AttentionArgs<T>& a, const CutArgs& cut) {
  if (cut.target_count == 0) return;
  const dim3 grid(static_cast<unsigned>(cut.target_count), blocks_for(a.heads, kThreads / 32));
  launch("attention_cut", attention_cut_kernel<T>, {grid, kThreads}, rows, rows, a, cut);
}

}  // namespace
}  // namespace factflow::kernels
