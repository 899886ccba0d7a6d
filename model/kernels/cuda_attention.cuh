// Causal attention of short prompts on CUDA. The softmax is kept up to date while the keys pass
// (Milakov & Gimelshein 2018).
#pragma once

#include "model/kernels/cuda_common.cuh"

namespace factflow::kernels {
namespace {

constexpr int kKeysAtOnce = 4;  // their loads and dot products overlap

// What a column may see, the same for all of its heads.
struct Sight {
  Row row;
  std::int32_t t, begin;
  bool target;

  __device__ Sight(const Rows& rows, std::int32_t column, std::int32_t window)
      : row(rows.rows[rows.row_of[column]]), t(rows.position[column]) {
    target = in_window(row, rows.layer) && (rows.flags[row.flags + t] & kTarget) != 0;
    begin = window > 0 && t >= window ? t - window + 1 : 0;
  }
  __device__ bool blocked(const Rows& rows, std::int32_t s) const {
    return target && (rows.flags[row.flags + s] & kSource) != 0;
  }
};

__device__ inline void count_blocked(const Rows& rows, const Sight& sight) {
  if (!sight.target) return;
  unsigned long long edges = 0;
  for (std::int32_t s = sight.begin; s <= sight.t; ++s) edges += sight.blocked(rows, s) ? 1 : 0;
  atomicAdd(rows.blocked, edges);
}

// cap tanh(score / cap)
__device__ inline float capped(float score, double cap) {
  const auto limit = static_cast<float>(cap);
  return limit * tanhf(score / limit);
}

// kLanes threads share a head, kFours float4 each: head_size = 4 kLanes kFours. A warp takes 32 /
// kLanes heads of one column.
template <bool kCapped, int kLanes, int kFours, class T>
__device__ void attend_wide(const Rows& rows, const AttentionArgs<T>& a, std::int32_t column,
                            int first_head) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int wanted = first_head + lane / kLanes;
  // Lanes of a missing head follow the last one and write nothing.
  const int head = min(wanted, a.heads - 1);
  const Sight sight(rows, column, a.sliding_window);
  if (wanted == 0 && lane == 0) count_blocked(rows, sight);
  const int part = lane % kLanes * 4;
  const std::int64_t key_at =
      static_cast<std::int64_t>(head / (a.heads / a.key_heads)) * a.head_size + part;
  const T* q = a.q.data + column * a.q.stride + head * a.head_size + part;
  float4 query[kFours], sum[kFours];
#pragma unroll
  for (int p = 0; p < kFours; ++p) {
    query[p] = times(load4(q + p * 4 * kLanes), static_cast<float>(a.scale));
    sum[p] = make_float4(0, 0, 0, 0);
  }
  float largest = -INFINITY, total = 0;
  bool any = false;
  for (std::int32_t first = sight.begin; first <= sight.t; first += kKeysAtOnce) {
    float score[kKeysAtOnce];
    std::int64_t seen[kKeysAtOnce];
#pragma unroll
    for (int i = 0; i < kKeysAtOnce; ++i) {
      const std::int32_t s = first + i;
      const bool sees = s <= sight.t && !sight.blocked(rows, s);
      seen[i] = sees ? column_of(sight.row, s) : -1;
      score[i] = 0;
      if (!sees) continue;
      const T* k = a.k.data + seen[i] * a.k.stride + key_at;
#pragma unroll
      for (int p = 0; p < kFours; ++p) score[i] += dot4(query[p], load4(k + p * 4 * kLanes));
    }
#pragma unroll
    for (int offset = kLanes / 2; offset > 0; offset /= 2)
#pragma unroll
      for (int i = 0; i < kKeysAtOnce; ++i) score[i] += __shfl_xor_sync(kAll, score[i], offset);
    float next = largest;
#pragma unroll
    for (int i = 0; i < kKeysAtOnce; ++i) {
      if (seen[i] < 0) continue;
      any = true;
      if (kCapped) score[i] = capped(score[i], a.score_cap);
      next = fmaxf(next, score[i]);
    }
    if (!any) continue;
    const float shrink = expf(largest - next);
    total *= shrink;
#pragma unroll
    for (int p = 0; p < kFours; ++p) sum[p] = times(sum[p], shrink);
#pragma unroll
    for (int i = 0; i < kKeysAtOnce; ++i) {
      if (seen[i] < 0) continue;
      const float weight = expf(score[i] - next);
      total += weight;
      const T* v = a.v.data + seen[i] * a.v.stride + key_at;
#pragma unroll
      for (int p = 0; p < kFours; ++p)
        sum[p] = plus_times(sum[p], weight, load4(v + p * 4 * kLanes));
    }
    largest = next;
  }
  if (wanted >= a.heads) return;
  const float inverse = any ? 1.0f / total : 0.0f;  // a column left with no key outputs 0
#pragma unroll
  for (int p = 0; p < kFours; ++p)
    put4(a.out, column, head * a.head_size + part + p * 4 * kLanes, times(sum[p], inverse));
}

// Block (columns, heads of a warp). Neighbouring columns often are replays of one prompt, whose
// keys and values then are in the processor's own cache.
constexpr int kColumnsPerBlock = 16;
template <bool kCapped, int kLanes, int kFours, class T>
__global__ void attention_wide_kernel(Rows rows, AttentionArgs<T> a) {
  const std::int32_t begin = static_cast<std::int32_t>(blockIdx.x) * kColumnsPerBlock,
                     end = min(begin + kColumnsPerBlock, rows.column_count);
  for (std::int32_t column = begin + static_cast<std::int32_t>(threadIdx.x) / 32; column < end;
       column += kThreads / 32)
    attend_wide<kCapped, kLanes, kFours>(rows, a, column,
                                         static_cast<int>(blockIdx.y) * (32 / kLanes));
}

// Any head size up to 256, one warp per column and head.
constexpr int kMaxHeadParts = 8;
template <bool kCapped, class T>
__global__ void attention_kernel(Rows rows, AttentionArgs<T> a) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t item = static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / 32) + warp;
  if (item >= static_cast<std::int64_t>(rows.column_count) * a.heads) return;
  const auto column = static_cast<std::int32_t>(item / a.heads);
  const int head = static_cast<int>(item % a.heads);
  const Sight sight(rows, column, a.sliding_window);
  if (head == 0 && lane == 0) count_blocked(rows, sight);
  const std::int64_t key_head =
      static_cast<std::int64_t>(head / (a.heads / a.key_heads)) * a.head_size;
  const T* q = a.q.data + column * a.q.stride + head * a.head_size;
  float query[kMaxHeadParts], sum[kMaxHeadParts];
#pragma unroll
  for (int p = 0; p < kMaxHeadParts; ++p) {
    query[p] =
        p * 32 + lane < a.head_size ? load(q + p * 32 + lane) * static_cast<float>(a.scale) : 0.0f;
    sum[p] = 0;
  }
  float largest = -INFINITY, total = 0;
  for (std::int32_t s = sight.begin; s <= sight.t; ++s) {
    if (sight.blocked(rows, s)) continue;
    const std::int64_t seen = column_of(sight.row, s);
    const T* k = a.k.data + seen * a.k.stride + key_head;
    const T* v = a.v.data + seen * a.v.stride + key_head;
    float score = 0;
#pragma unroll
    for (int p = 0; p < kMaxHeadParts; ++p)
      if (p * 32 + lane < a.head_size) score += query[p] * load(k + p * 32 + lane);
    score = warp_sum(score);
    if (kCapped) score = capped(score, a.score_cap);
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
      put(a.out, column, head * a.head_size + p * 32 + lane,
          largest == -INFINITY ? 0.0f : sum[p] / total);
}

template <int kLanes, int kFours, class T>
void launch_wide_attention(const Rows& rows, const AttentionArgs<T>& a) {
  constexpr int kHeadsPerWarp = 32 / kLanes;
  const dim3 grid(blocks_for(rows.column_count, kColumnsPerBlock),
                  blocks_for(a.heads, kHeadsPerWarp));
  if (a.score_cap > 0)
    launch("attention_wide", attention_wide_kernel<true, kLanes, kFours, T>, {grid, kThreads}, rows,
           rows, a);
  else
    launch("attention_wide", attention_wide_kernel<false, kLanes, kFours, T>, {grid, kThreads},
           rows, rows, a);
}

template <class T>
void attention(const Rows& rows, const AttentionArgs<T>& a) {
  if (a.head_size > 32 * kMaxHeadParts)
    throw std::runtime_error(
        "the CUDA attention takes heads of at most 256 dimensions; this model runs with device: "
        "cpu");
  if (rows.column_count == 0) return;
  if (in_fours(a.q.data, a.q.stride) && in_fours(a.k.data, a.k.stride) &&
      in_fours(a.v.data, a.v.stride) && in_fours(a.out)) {
    switch (a.head_size) {
      case 32:
        return launch_wide_attention<4, 2>(rows, a);
      case 64:
        return launch_wide_attention<8, 2>(rows, a);
      case 80:
        return launch_wide_attention<4, 5>(rows, a);
      case 96:
        return launch_wide_attention<8, 3>(rows, a);
      case 128:
        return launch_wide_attention<16, 2>(rows, a);
      case 256:
        return launch_wide_attention<32, 2>(rows, a);
      default:
        break;
    }
  }
  const std::int64_t warps = static_cast<std::int64_t>(rows.column_count) * a.heads;
  const LaunchShape shape{blocks_for(warps, kThreads / 32), kThreads};
  if (a.score_cap > 0)
    launch("attention", attention_kernel<true, T>, shape, rows, rows, a);
  else
    launch("attention", attention_kernel<false, T>, shape, rows, rows, a);
}

}  // namespace
}  // namespace factflow::kernels
