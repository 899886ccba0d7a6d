// Mamba-2's token mixing in its quadratic form on CUDA: clean tokens and replays of the last one by
// part (dual_part_kernel), any other column for itself (dual_kernel).
#pragma once

#include <algorithm>

#include "model/kernels/cuda_common.cuh"

namespace factflow::kernels {
namespace {

template <class T>
__device__ float step_size(const DualArgs<T>& a, std::int32_t column, int head) {
  const float dt = softplus<T>(load(a.dt.data + column * a.dt.stride + head) + a.dt_bias[head]);
  return fminf(fmaxf(dt, static_cast<float>(a.dt_min)), static_cast<float>(a.dt_max));
}

// Clean tokens and replays of the last one see the same tokens before them, so those of a part are
// added up side by side, eight at a time: what the tokens before them count is found out for all
// eight, and each thread then reads a token's channels once for them.
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

// Shared memory of a block of `heads` heads, for prompts of up to `tokens` tokens. Position
// `tokens` stands for a query's own token.
struct DualTile {
  Query* queries;  // [kRowsPerPart + tokens] clean tokens, then replays
  // [tokens + 1, heads, kDualQueries] what a token counts; for the own one D included.
  float* weight;
  float* score;   // [tokens + 1, kDualQueries] C . B
  float* dt;      // [tokens, heads] of the clean tokens
  float* own_dt;  // [heads, kDualQueries]

  __device__ DualTile(float* memory, int tokens, int heads)
      : queries(reinterpret_cast<Query*>(memory)),
        weight(reinterpret_cast<float*>(queries + kRowsPerPart + tokens)),
        score(weight + (tokens + 1) * heads * kDualQueries),
        dt(score + (tokens + 1) * kDualQueries),
        own_dt(dt + tokens * heads) {}
  static size_t bytes(int tokens, int heads) {
    const int weights = (tokens + 1) * heads * kDualQueries, scores = (tokens + 1) * kDualQueries;
    return sizeof(Query) * static_cast<size_t>(kRowsPerPart + tokens) +
           sizeof(float) *
               static_cast<size_t>(weights + scores + tokens * heads + heads * kDualQueries);
  }
};

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

// Some queries that are computed at once. Where there are fewer than kDualQueries the last one is
// repeated.
struct Queries {
  const Query* query;
  int count;
  int before;  // clean tokens that the last of them sees

  __device__ const Query& operator[](int q) const { return query[min(q, count - 1)]; }
};

// A block's heads, `first` to `first + count - 1`, which are of one group, of a part.
template <class T>
struct DualBlock {
  const Rows& rows;
  const DualArgs<T>& a;
  DualTile tile;
  Row row;    // the clean one
  int heads;  // for which there is room in the tile
  int group, first, count;
  int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);

  __device__ int own() const {
    return rows.longest;
  }  // the position that stands for a query's own token

  // The clean tokens' dt, and all queries, `total` of them, in the same order in every block of the
  // part: those along z share them by number.
  __device__ void prepare(const PromptPart& part, int& total) const {
    const int clean = part.leads != 0 ? row.count : 0;
    if (thread == 0) total = clean;
    for (int i = thread; i < clean; i += threads) tile.queries[i] = {row.column + i, i, -1, 0};
    for (int i = thread; i < (row.count - 1) * count; i += threads)
      tile.dt[i / count * heads + i % count] =
          step_size(a, row.column + i / count, first + i % count);
    __syncthreads();
    for (int i = thread; i < part.count; i += threads) {
      const LastToken* replay = rows.replays + part.begin + i;
      const LastToken token = *replay;
      if (token.column >= rows.column_count) break;  // and all after it, by order of birth
      const bool cut = in_window(token, rows.layer);
      tile.queries[clean + i] = {token.column, row.count - 1, cut ? token.flags : -1,
                                 token.channels};
      const bool last = i + 1 == part.count || replay[1].column >= rows.column_count;
      if (last) total = clean + i + 1;
      if (cut && blockIdx.y == 0 && blockIdx.z == 0)
        atomicAdd(rows.blocked, static_cast<unsigned long long>(token.edges));
    }
    __syncthreads();
  }

  // In eights: of two queries and four tokens, then of all queries and their own tokens. And the
  // own tokens' dt.
  __device__ void find_scores(const Queries& queries) const {
    const int lane = thread % 32, pairs = kDualQueries / 2,
              eights = (queries.before + 3) / 4 * pairs;
    for (int i = thread; i < count * kDualQueries; i += threads)
      tile.own_dt[i] = step_size(a, queries[i % kDualQueries].column, first + i / kDualQueries);
    for (int i = thread / 32; i <= eights; i += threads / 32) {
      const bool of_own = i == eights;
      const int q = i % pairs * 2, s = i / pairs * 4;
      float sum[8] = {};
      for (int n = 4 * lane; n < a.states; n += 4 * 32) {
        const auto b_of = [&](std::int32_t column) {
          return load4(at_row(a.b, column, group * a.states + n));
        };
        const auto c_of = [&](int k) {
          return load4(at_row(a.c, queries[k].column, group * a.states + n));
        };
        if (of_own) {
#pragma unroll
          for (int k = 0; k < kDualQueries; ++k) sum[k] += dot4(c_of(k), b_of(queries[k].column));
        } else {
          const float4 even = c_of(q), odd = c_of(q + 1);
#pragma unroll
          for (int k = 0; k < 4; ++k) {
            const float4 b = b_of(row.column + min(s + k, queries.before - 1));
            sum[2 * k] += dot4(even, b);
            sum[2 * k + 1] += dot4(odd, b);
          }
        }
      }
      const float score = warp_sums(sum);
      const int k = lane / 4, token = of_own ? own() : s + k / 2;
      if (lane % 4 == 0 && (of_own || token < queries.before))
        tile.score[token * kDualQueries + (of_own ? k : q + k % 2)] = score;
    }
    __syncthreads();
  }

  __device__ void find_weights(const Queries& queries) const {
    for (int i = thread; i < count * kDualQueries; i += threads) {
      const int q = i % kDualQueries, h = i / kDualQueries, head = first + h;
      const Query query = queries[q];
      const bool loses = query.flags >= 0 && a.lose[query.channels * a.heads + head] != 0;
      const auto blocked = [&](int s) {
        return loses && (rows.flags[query.flags + s] & kSource) != 0;
      };
      const float dt = tile.own_dt[i], rate = a.a[head] * kLog2E;
      weights(own(), h)[q] =
          a.d[head] + (blocked(query.position) ? 0.0f : tile.score[own() * kDualQueries + q] * dt);
      float segment = dt * rate;  // sum of dt A over the tokens passed, ready for exp2
      for (int s = queries.before - 1; s >= 0; --s) {
        const float clean_dt = tile.dt[s * heads + h];
        const float weight = tile.score[s * kDualQueries + q] * exp2_fast(segment) * clean_dt;
        const bool seen = s < query.position;
        weights(s, h)[q] = seen && !blocked(s) ? weight : 0.0f;
        if (seen) segment += clean_dt * rate;
      }
    }
    __syncthreads();
  }

  // Four channels of all queries.
  __device__ void add_up(const Queries& queries) const {
    const int h = 4 * thread / a.head_size, channel = first * a.head_size + 4 * thread;
    if (h >= count) return;
    float4 y[kDualQueries];
#pragma unroll
    for (int q = 0; q < kDualQueries; ++q)
      y[q] = times(load4(at_row(a.x, queries[q].column, channel)), weights(own(), h)[q]);
#pragma unroll 4
    for (int s = queries.before - 1; s >= 0; --s) {
      const float4 x = load4(at_row(a.x, row.column + s, channel));
      const float4 low = load4(weights(s, h)), high = load4(weights(s, h) + 4);
      y[0] = plus_times(y[0], low.x, x);
      y[1] = plus_times(y[1], low.y, x);
      y[2] = plus_times(y[2], low.z, x);
      y[3] = plus_times(y[3], low.w, x);
      y[4] = plus_times(y[4], high.x, x);
      y[5] = plus_times(y[5], high.y, x);
      y[6] = plus_times(y[6], high.z, x);
      y[7] = plus_times(y[7], high.w, x);
    }
#pragma unroll
    for (int q = 0; q < kDualQueries; ++q)
      if (q < queries.count) store4(at_row(a.out, queries[q].column, channel), y[q]);
  }

 private:
  __device__ float* weights(int s, int h) const {
    return tile.weight + (s * heads + h) * kDualQueries;
  }
};

// Block (part, group and tile of `heads` heads, share of the part's queries).
template <class T>
__global__ void __launch_bounds__(kDualThreads, 4)
    dual_part_kernel(Rows rows, DualArgs<T> a, int heads) {
  static_assert(kDualQueries == 8);
  __shared__ int total;  // queries
  const int in_group = a.heads / a.groups, tiles = (in_group + heads - 1) / heads;
  const int group = static_cast<int>(blockIdx.y) / tiles,
            begin = static_cast<int>(blockIdx.y) % tiles * heads;
  const PromptPart& part = rows.parts[blockIdx.x];
  const DualBlock<T> block{rows,
                           a,
                           DualTile(dynamic_shared(), rows.longest, heads),
                           rows.rows[part.clean_row],
                           heads,
                           group,
                           group * in_group + begin,
                           min(heads, in_group - begin)};
  block.prepare(part, total);
  const int clean = part.leads != 0 ? block.row.count : 0;
  for (int i = static_cast<int>(blockIdx.z) * kDualQueries; i < total;
       i += kDualBlocks * kDualQueries) {
    const int count = min(kDualQueries, total - i), last = i + count - 1;
    const Queries queries{block.tile.queries + i, count, last < clean ? last : block.row.count - 1};
    block.find_scores(queries);
    block.find_weights(queries);
    block.add_up(queries);
  }
}

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

// One block per column and group. Source tokens are taken in tiles from the column's own token
// backwards. Everything that waits for memory is done by all threads at once; only the running sum
// of dt A goes token by token. Columns of `parts` are left out if they are done elsewhere.
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
    for (int i = thread; i < tile * heads; i += threads)
      shared.dt[i] = step_size(a, shared.column[i / heads], first + i % heads);
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
      shared.weight[i] =
          left_out ? 0.0f : shared.score[i / heads] * expf(shared.weight[i]) * shared.dt[i];
    }
    __syncthreads();
    const bool begins = top == t;
    if (wide) {
      for (int j = 4 * thread; j < channels; j += 4 * threads) {
        const int h = j / a.head_size;
        const float skip = a.d[first + h];
        float4 y = begins ? times(load4(own + j), skip) : load4(out + j);
#pragma unroll 4
        for (int i = 0; i < tile; ++i) {
          const float4 x = load4(a.x.data + shared.column[i] * a.x.stride + offset + j);
          y = plus_times(y, shared.weight[i * heads + h], x);
        }
        store4(out + j, y);
      }
    } else {
      for (int j = thread; j < channels; j += threads) {
        const int h = j / a.head_size;
        float y = begins ? a.d[first + h] * load(own + j) : load(out + j);
        for (int i = 0; i < tile; ++i)
          y += shared.weight[i * heads + h] *
               load(a.x.data + shared.column[i] * a.x.stride + offset + j);
        store(out + j, y);
      }
    }
  }
}

// How many heads of a group a block of dual_part_kernel takes; 0 if a head is too large for one.
template <class T>
int heads_of_block(const DualArgs<T>& a) {
  const int in_group = a.heads / a.groups,
            most = std::min(kDualHeads, 4 * kDualThreads / a.head_size);
  if (most == 0) return 0;
  const int tiles = (in_group + most - 1) / most;
  return (in_group + tiles - 1) / tiles;
}

// Whether it took the columns of all parts. x and out are read and written in fours.
template <class T>
bool dual_parts(const Rows& rows, const DualArgs<T>& a) {
  const int heads = heads_of_block(a);
  const size_t bytes = DualTile::bytes(rows.longest, heads);
  const bool fits = heads > 0 && bytes <= kDualBytes && a.states % 4 == 0 &&
                    in_fours(a.b.data, a.b.stride) && in_fours(a.c.data, a.c.stride);
  if (!fits || !have_shared(dual_part_kernel<T>, bytes)) return false;
  const dim3 grid(static_cast<unsigned>(rows.part_count),
                  static_cast<unsigned>(a.groups) * blocks_for(a.heads / a.groups, heads),
                  kDualBlocks);
  launch("dual_part", dual_part_kernel<T>, {grid, (heads * a.head_size / 4 + 31) / 32 * 32, bytes},
         rows, rows, a, heads);
  return true;
}

template <class T>
void dual(const Rows& rows, const DualArgs<T>& a) {
  if (rows.column_count == 0) return;
  const bool wide =
      a.head_size % 4 == 0 && in_fours(a.x.data, a.x.stride) && in_fours(a.out.data, a.out.stride);
  const bool parts = wide && dual_parts(rows, a);
  if (parts && !rows.suffixes) return;
  const size_t bytes = DualShared::bytes(a.heads / a.groups);
  if (!have_shared(dual_kernel<T>, bytes))
    throw std::runtime_error(
        "this GPU has too little shared memory for the heads of one group; the model runs with "
        "device: cpu");
  const dim3 grid(static_cast<unsigned>(rows.column_count), static_cast<unsigned>(a.groups));
  launch("dual", dual_kernel<T>, {grid, kThreads, bytes}, rows, rows, a, wide, parts);
}

}  // namespace
}  // namespace factflow::kernels
