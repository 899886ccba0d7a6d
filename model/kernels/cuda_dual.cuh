// Mamba-2's token mixing in its quadratic form on CUDA.
#pragma once

#include <algorithm>

#include "model/kernels/cuda_common.cuh"

namespace factflow::kernels {
namespace {

constexpr int kDualTile = 32;  // source tokens handled at a time

// Shared memory of a block, `heads` heads of one group.
struct DualShared {
  std::int32_t* column;   // [kDualTile] of the source tokens, nearest first
  std::uint8_t* blocked;  // [kDualTile]
  float* score;           // [kDualTile] C . B
  float* segment;         // [heads] sum of dt A over the tokens passed
  float* dt;              // [kDualTile, heads]
  float* weight;          // [kDualTile, heads]

  __device__ DualShared(float* memory, int heads)
      : column(reinterpret_cast<std::int32_t*>(memory)),
        blocked(reinterpret_cast<std::uint8_t*>(memory + kDualTile)),
        score(memory + 2 * kDualTile),
        segment(score + kDualTile),
        dt(segment + heads),
        weight(dt + kDualTile * heads) {}
  static size_t bytes(int heads) {
    return sizeof(float) * static_cast<size_t>(3 * kDualTile + heads + 2 * kDualTile * heads);
  }
};

// Clean tokens and replays of the last one see the same tokens before them, so those of a part are added up
// side by side, eight at a time: what the tokens before them count is found out for all eight, and each
// thread then reads a token's channels once for them.
constexpr int kDualQueries = 8;
constexpr int kDualHeads = 32;                   // of a block, at most
constexpr int kDualThreads = 256;                // of a block, at most; four channels each
constexpr int kDualBlocks = 4;                   // that share the columns of a part
constexpr size_t kDualBytes = size_t{64} << 10;  // of shared memory, at most

// A column that sees the clean tokens before it.
struct alignas(16) Query {
  std::int32_t column, position;
  std::int32_t flags;  // offset of the token flags of its cut; -1: nothing is cut in this layer
  std::int32_t channels;
};

// Shared memory of a block of `heads` heads, for prompts of up to `tokens` tokens. Position `tokens` stands
// for a query's own token.
struct DualTile {
  Query* queries;  // [kRowsPerPart + tokens] clean tokens, then replays
  float* weight;   // [tokens + 1, heads, kDualQueries] what a token counts; for the own one D included
  float* score;    // [tokens + 1, kDualQueries] C . B
  float* dt;       // [tokens, heads] of the clean tokens
  float* own_dt;   // [heads, kDualQueries]

  __device__ DualTile(float* memory, int tokens, int heads)
      : queries(reinterpret_cast<Query*>(memory)),
        weight(reinterpret_cast<float*>(queries + kRowsPerPart + tokens)),
        score(weight + (tokens + 1) * heads * kDualQueries),
        dt(score + (tokens + 1) * kDualQueries),
        own_dt(dt + tokens * heads) {}
  static size_t bytes(int tokens, int heads) {
    const int weights = (tokens + 1) * heads * kDualQueries, scores = (tokens + 1) * kDualQueries;
    return sizeof(Query) * static_cast<size_t>(kRowsPerPart + tokens) +
           sizeof(float) * static_cast<size_t>(weights + scores + tokens * heads + heads * kDualQueries);
  }
};

template <class T>
__device__ float step_size(const DualArgs<T>& a, std::int32_t column, int head) {
  const float dt = softplus<T>(load(a.dt.data + column * a.dt.stride + head) + a.dt_bias[head]);
  return fminf(fmaxf(dt, static_cast<float>(a.dt_min)), static_cast<float>(a.dt_max));
}

__device__ inline float4 plus_times(float4 sum, float factor, float4 x) {
  return make_float4(sum.x + factor * x.x, sum.y + factor * x.y, sum.z + factor * x.z, sum.w + factor * x.w);
}

// Sums of eight numbers over the warp: lane l gets that of number l / 4.
__device__ inline float warp_sums(float (&sum)[8]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int half = 4; half > 0; half /= 2) {
    const bool upper = (lane & 4 * half) != 0;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const float kept = upper ? sum[i + half] : sum[i], given = upper ? sum[i] : sum[i + half];
      sum[i] = kept + __shfl_xor_sync(kAll, given, 4 * half);
    }
  }
  const float pair = sum[0] + __shfl_xor_sync(kAll, sum[0], 2);
  return pair + __shfl_xor_sync(kAll, pair, 1);
}

// Block (part, group and tile of `heads` heads, share of the part's columns).
template <class T>
__global__ void __launch_bounds__(kDualThreads, 4) dual_part_kernel(Rows rows, DualArgs<T> a, int heads) {
  static_assert(kDualQueries == 8);
  __shared__ int total;  // queries
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const int lane = thread % 32, warp = thread / 32, warps = threads / 32;
  const int in_group = a.heads / a.groups, tiles = (in_group + heads - 1) / heads;
  const int group = static_cast<int>(blockIdx.y) / tiles,
            skipped = static_cast<int>(blockIdx.y) % tiles * heads;
  const int first = group * in_group + skipped, count = min(heads, in_group - skipped);
  const int own = rows.longest;  // the position that stands for a query's own token
  const DualTile tile(dynamic_shared(), own, heads);
  const ScanPart part = rows.parts[blockIdx.x];
  const Row row = rows.rows[part.clean_row];
  const int clean = part.leads != 0 ? row.count : 0;
  if (thread == 0) total = clean;
  for (int i = thread; i < clean; i += threads) tile.queries[i] = {row.column + i, i, -1, 0};
  for (int i = thread; i < (row.count - 1) * count; i += threads)
    tile.dt[i / count * heads + i % count] = step_size(a, row.column + i / count, first + i % count);
  __syncthreads();
  for (int i = thread; i < part.count; i += threads) {
    const LastToken token = rows.replays[part.begin + i];
    if (token.column >= rows.column_count) continue;
    const bool cut = rows.layer >= token.window_begin && rows.layer < token.window_end;
    tile.queries[atomicAdd(&total, 1)] = {token.column, row.count - 1, cut ? token.flags : -1,
                                          token.channels};
    if (cut && blockIdx.y == 0 && blockIdx.z == 0)
      atomicAdd(rows.blocked, static_cast<unsigned long long>(token.edges));
  }
  __syncthreads();
  const auto bytes_of = [](std::int64_t stride) {
    return static_cast<std::int32_t>(stride * static_cast<std::int64_t>(sizeof(T)));
  };
  const std::int32_t x_bytes = bytes_of(a.x.stride), b_bytes = bytes_of(a.b.stride),
                     c_bytes = bytes_of(a.c.stride), out_bytes = bytes_of(a.out.stride);
  for (int begin = static_cast<int>(blockIdx.z) * kDualQueries; begin < total;
       begin += kDualBlocks * kDualQueries) {
    const int last = min(begin + kDualQueries, total) - 1;
    const int before = last < clean ? last : row.count - 1;  // tokens that the last of them sees
    const auto query = [&](int q) -> const Query& { return tile.queries[min(begin + q, last)]; };
    for (int i = thread; i < count * kDualQueries; i += threads)
      tile.own_dt[i] = step_size(a, query(i % kDualQueries).column, first + i / kDualQueries);
    // Scores in eights: of two queries and four tokens, then of all queries and their own tokens.
    const int blocks = (before + 3) / 4;
    for (int i = warp; i <= blocks * kDualQueries / 2; i += warps) {
      const bool of_own = i == blocks * kDualQueries / 2;
      const int q = i % (kDualQueries / 2) * 2, s = i / (kDualQueries / 2) * 4;
      float sum[8] = {};
      for (int n = 4 * lane; n < a.states; n += 4 * 32) {
        const T* b = a.b.data + group * a.states + n;
        const T* c = a.c.data + group * a.states + n;
        if (of_own) {
#pragma unroll
          for (int k = 0; k < kDualQueries; ++k)
            sum[k] +=
                dot4(load4(at_row(c, query(k).column, c_bytes)), load4(at_row(b, query(k).column, b_bytes)));
        } else {
          const float4 even = load4(at_row(c, query(q).column, c_bytes)),
                       odd = load4(at_row(c, query(q + 1).column, c_bytes));
#pragma unroll
          for (int k = 0; k < 4; ++k) {
            const float4 seen = load4(at_row(b, row.column + min(s + k, before - 1), b_bytes));
            sum[2 * k] += dot4(even, seen);
            sum[2 * k + 1] += dot4(odd, seen);
          }
        }
      }
      const float score = warp_sums(sum);
      const int k = lane / 4, token = of_own ? own : s + k / 2;
      if (lane % 4 == 0 && (of_own || token < before))
        tile.score[token * kDualQueries + (of_own ? k : q + k % 2)] = score;
    }
    __syncthreads();
    for (int i = thread; i < count * kDualQueries; i += threads) {
      const int q = i % kDualQueries, h = i / kDualQueries, head = first + h;
      const Query of = query(q);
      const bool loses = of.flags >= 0 && a.lose[of.channels * a.heads + head] != 0;
      const auto blocked = [&](int s) { return loses && (rows.flags[of.flags + s] & kSource) != 0; };
      const auto at = [&](int s) { return (s * heads + h) * kDualQueries + q; };
      const float dt = tile.own_dt[i], rate = a.a[head] * kLog2E;
      tile.weight[at(own)] =
          a.d[head] + (blocked(of.position) ? 0.0f : tile.score[own * kDualQueries + q] * dt);
      float segment = dt * rate;  // sum of dt A over the tokens passed, ready for exp2
      for (int s = before - 1; s >= 0; --s) {
        const bool seen = s < of.position;
        const float weight = tile.score[s * kDualQueries + q] * exp2_fast(segment) * tile.dt[s * heads + h];
        tile.weight[at(s)] = seen && !blocked(s) ? weight : 0.0f;
        if (seen) segment += tile.dt[s * heads + h] * rate;
      }
    }
    __syncthreads();
    const int h = 4 * thread / a.head_size;
    if (h >= count) continue;
    const T* x = a.x.data + first * a.head_size + 4 * thread;
    T* out = a.out.data + first * a.head_size + 4 * thread;
    const auto weights = [&](int s) { return tile.weight + (s * heads + h) * kDualQueries; };
    float4 y[kDualQueries];
#pragma unroll
    for (int q = 0; q < kDualQueries; ++q) {
      const float weight = weights(own)[q];
      y[q] = times(make_float4(weight, weight, weight, weight), load4(at_row(x, query(q).column, x_bytes)));
    }
#pragma unroll 4
    for (int s = before - 1; s >= 0; --s) {
      const float4 seen = load4(at_row(x, row.column + s, x_bytes));
      const float4 low = load4(weights(s)), high = load4(weights(s) + 4);
      y[0] = plus_times(y[0], low.x, seen);
      y[1] = plus_times(y[1], low.y, seen);
      y[2] = plus_times(y[2], low.z, seen);
      y[3] = plus_times(y[3], low.w, seen);
      y[4] = plus_times(y[4], high.x, seen);
      y[5] = plus_times(y[5], high.y, seen);
      y[6] = plus_times(y[6], high.z, seen);
      y[7] = plus_times(y[7], high.w, seen);
    }
#pragma unroll
    for (int q = 0; q < kDualQueries; ++q)
      if (begin + q <= last) store4(at_row(out, query(q).column, out_bytes), y[q]);
  }
}

// One block per column and group. Source tokens are taken in tiles from the column's own token backwards.
// Everything that waits for memory is done by all threads at once; only the running sum of dt A goes token by
// token. Columns of `parts` are left out if they are done elsewhere.
template <class T>
__global__ void dual_kernel(Rows rows, DualArgs<T> a, bool wide, bool parts) {
  const int heads = a.heads / a.groups, thread = static_cast<int>(threadIdx.x),
            threads = static_cast<int>(blockDim.x);
  const DualShared shared(dynamic_shared(), heads);
  const std::int32_t column = static_cast<std::int32_t>(blockIdx.x);
  const int group = static_cast<int>(blockIdx.y), first = group * heads;
  const Row row = rows.rows[rows.row_of[column]];
  if (parts && (rows.row_of[column] < rows.clean_count || row.count == 1)) return;
  const std::int32_t t = rows.position[column];
  const bool target = in_window(row, rows.layer) && (rows.flags[row.flags + t] & kTarget) != 0;
  const std::uint8_t* lose = target ? a.lose + row.channels * a.heads + first : nullptr;
  const int channels = heads * a.head_size, offset = first * a.head_size;
  const T* own = a.x.data + column * a.x.stride + offset;
  T* out = a.out.data + column * a.out.stride + offset;
  const T* c = a.c.data + column * a.c.stride + group * a.states;
  for (int h = thread; h < heads; h += threads) shared.segment[h] = 0;
  for (std::int32_t top = t; top >= 0; top -= kDualTile) {
    const int tile = top + 1 < kDualTile ? top + 1 : kDualTile;
    __syncthreads();
    if (thread < tile) {
      shared.column[thread] = column_of(row, top - thread);
      const bool blocked = target && (rows.flags[row.flags + top - thread] & kSource) != 0;
      shared.blocked[thread] = blocked ? 1 : 0;
      if (blocked && group == 0) atomicAdd(rows.blocked, 1ull);
    }
    __syncthreads();
    for (int i = thread; i < tile * heads; i += threads) {
      const int h = first + i % heads;
      const float dt =
          softplus<T>(load(a.dt.data + shared.column[i / heads] * a.dt.stride + h) + a.dt_bias[h]);
      shared.dt[i] = fminf(fmaxf(dt, static_cast<float>(a.dt_min)), static_cast<float>(a.dt_max));
    }
    for (int i = thread / 32; i < tile; i += threads / 32) {
      const T* b = a.b.data + shared.column[i] * a.b.stride + group * a.states;
      float sum = 0;
      for (int n = thread % 32; n < a.states; n += 32) sum += load(c + n) * load(b + n);
      sum = warp_sum(sum);
      if (thread % 32 == 0) shared.score[i] = sum;
    }
    __syncthreads();
    for (int h = thread; h < heads; h += threads) {
      float sum = shared.segment[h];
      for (int i = 0; i < tile; ++i) {
        shared.weight[i * heads + h] = sum;
        sum += shared.dt[i * heads + h] * a.a[first + h];
      }
      shared.segment[h] = sum;
    }
    __syncthreads();
    for (int i = thread; i < tile * heads; i += threads) {
      const bool left_out = shared.blocked[i / heads] != 0 && lose[i % heads] != 0;
      shared.weight[i] = left_out ? 0.0f : shared.score[i / heads] * expf(shared.weight[i]) * shared.dt[i];
    }
    __syncthreads();
    const bool begins = top == t;
    if (wide) {
      for (int j = 4 * thread; j < channels; j += 4 * threads) {
        const int h = j / a.head_size;
        const float skip = a.d[first + h];
        float4 y = begins ? load4(own + j) : load4(out + j);
        if (begins) y = make_float4(y.x * skip, y.y * skip, y.z * skip, y.w * skip);
#pragma unroll 4
        for (int i = 0; i < tile; ++i) {
          const float w = shared.weight[i * heads + h];
          const float4 x = load4(a.x.data + shared.column[i] * a.x.stride + offset + j);
          y = make_float4(y.x + w * x.x, y.y + w * x.y, y.z + w * x.z, y.w + w * x.w);
        }
        store4(out + j, y);
      }
    } else {
      for (int j = thread; j < channels; j += threads) {
        const int h = j / a.head_size;
        float y = begins ? a.d[first + h] * load(own + j) : load(out + j);
        for (int i = 0; i < tile; ++i)
          y += shared.weight[i * heads + h] * load(a.x.data + shared.column[i] * a.x.stride + offset + j);
        store(out + j, y);
      }
    }
  }
}

// How many heads of a group a block of dual_part_kernel takes; 0 if a head is too large for one.
template <class T>
int heads_of_block(const DualArgs<T>& a) {
  const int in_group = a.heads / a.groups, most = std::min(kDualHeads, 4 * kDualThreads / a.head_size);
  if (most == 0) return 0;
  const int tiles = (in_group + most - 1) / most;
  return (in_group + tiles - 1) / tiles;
}

// Whether blocks of the kernel get so much shared memory.
template <class... Parameters>
bool have_shared(void (*kernel)(Parameters...), size_t bytes) {
  const bool have = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                         static_cast<int>(bytes)) == cudaSuccess;
  if (!have) static_cast<void>(cudaGetLastError());
  return have;
}

// Whether it took the columns of all parts.
template <class T>
bool dual_parts(const Rows& rows, const DualArgs<T>& a) {
  const int heads = heads_of_block(a);
  const size_t bytes = DualTile::bytes(rows.longest, heads);
  const bool fits = heads > 0 && bytes <= kDualBytes && a.head_size % 4 == 0 && a.states % 4 == 0 &&
                    in_fours(a.x.data, a.x.stride) && in_fours(a.b.data, a.b.stride) &&
                    in_fours(a.c.data, a.c.stride) && in_fours(a.out.data, a.out.stride);
  if (!fits || !have_shared(dual_part_kernel<T>, bytes)) return false;
  const dim3 grid(static_cast<unsigned>(rows.part_count),
                  static_cast<unsigned>(a.groups) * blocks_for(a.heads / a.groups, heads), kDualBlocks);
  launch("dual_part", dual_part_kernel<T>, {grid, (heads * a.head_size / 4 + 31) / 32 * 32, bytes}, rows,
         rows, a, heads);
  return true;
}

template <class T>
void dual(const Rows& rows, const DualArgs<T>& a) {
  if (rows.column_count == 0) return;
  const bool parts = dual_parts(rows, a);
  if (parts && !rows.suffixes) return;
  const size_t bytes = DualShared::bytes(a.heads / a.groups);
  if (!have_shared(dual_kernel<T>, bytes))
    throw std::runtime_error(
        "this GPU has too little shared memory for the heads of one group; the model runs with device: cpu");
  const bool wide =
      a.head_size % 4 == 0 && in_fours(a.x.data, a.x.stride) && in_fours(a.out.data, a.out.stride);
  const dim3 grid(static_cast<unsigned>(rows.column_count), static_cast<unsigned>(a.groups));
  launch("dual", dual_kernel<T>, {grid, kThreads, bytes}, rows, rows, a, wide, parts);
}

}  // namespace
}  // namespace factflow::kernels
