// Mamba-2's token mixing in its quadratic form on CUDA.
#pragma once

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

// One block per column and group. Source tokens are taken in tiles from the column's own token backwards.
// Everything that waits for memory is done by all threads at once; only the running sum of dt A goes token by
// token.
template <class T>
__global__ void dual_kernel(Rows rows, DualArgs<T> a, bool wide) {
  const int heads = a.heads / a.groups, thread = static_cast<int>(threadIdx.x),
            threads = static_cast<int>(blockDim.x);
  const DualShared shared(dynamic_shared(), heads);
  const std::int32_t column = static_cast<std::int32_t>(blockIdx.x);
  const int group = static_cast<int>(blockIdx.y), first = group * heads;
  const Row row = rows.rows[rows.row_of[column]];
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

template <class T>
void dual(const Rows& rows, const DualArgs<T>& a) {
  if (rows.column_count == 0) return;
  const size_t bytes = DualShared::bytes(a.heads / a.groups);
  if (cudaFuncSetAttribute(dual_kernel<T>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                           static_cast<int>(bytes)) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    throw std::runtime_error(
        "this GPU has too little shared memory for the heads of one group; the model runs with device: cpu");
  }
  const bool wide =
      a.head_size % 4 == 0 && in_fours(a.x.data, a.x.stride) && in_fours(a.out.data, a.out.stride);
  const dim3 grid(static_cast<unsigned>(rows.column_count), static_cast<unsigned>(a.groups));
  launch("dual", dual_kernel<T>, {grid, kThreads, bytes}, rows, rows, a, wide);
}

}  // namespace
}  // namespace factflow::kernels
