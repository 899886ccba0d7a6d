// Diagonal linear recurrences, and convolutions whose taps are edges, on CUDA. Bound by memory: a
// thread has one channel.
#pragma once

#include "model/kernels/cuda_common.cuh"

namespace factflow::kernels {
namespace {

constexpr int kLinearThreads = 128;

// Clean rows, then the states that rows start from: block (row or slot, channels).
template <class T>
__global__ void linear_clean_kernel(Rows rows, LinearScanArgs<T> a) {
  const auto index = static_cast<std::int32_t>(blockIdx.x);
  const std::int32_t slot = index - rows.clean_count;
  const std::int64_t j = static_cast<std::int64_t>(blockIdx.y) * kLinearThreads + threadIdx.x;
  if (j >= a.channels) return;
  const Row row = rows.rows[slot < 0 ? index : clean_row_of(rows, slot)];
  const StateSlot of = slot < 0 ? StateSlot{row.count, -1} : rows.slots[slot];
  T h = 0;
  for (std::int32_t t = 0; t < of.tokens; ++t) {
    const bool skips = of.flags >= 0 && (rows.flags[of.flags + t] & kSource) != 0;
    h = *at_row(a.decay, row.column + t, j) * h +
        (skips ? T(0) : *at_row(a.input, row.column + t, j));
    if (slot < 0) *at_row(a.out, row.column + t, j) = h;
  }
  if (slot >= 0) a.states[slot * a.channels + j] = h;
}

// Replayed rows: block (row, channels).
template <class T>
__global__ void linear_kernel(Rows rows, LinearScanArgs<T> a) {
  const Row row = rows.rows[rows.clean_count + static_cast<std::int32_t>(blockIdx.x)];
  const std::int64_t j = static_cast<std::int64_t>(blockIdx.y) * kLinearThreads + threadIdx.x;
  const bool cut = in_window(row, rows.layer);
  if (cut && blockIdx.y == 0) count_row_edges(rows, row);
  if (j >= a.channels) return;
  const bool loses = cut && a.lose[row.channels * a.channels + j] != 0;
  const auto state = [&](std::int32_t slot) {
    return slot < 0 ? T(0) : a.states[slot * a.channels + j];
  };
  T full = state(row.full_state), kept = loses ? state(row.kept_state) : T(0);
  for (std::int32_t i = 0; i < row.count; ++i) {
    const T input = *at_row(a.input, row.column + i, j),
            decay = *at_row(a.decay, row.column + i, j);
    const std::uint8_t flag = loses ? rows.flags[row.flags + row.first_token + i] : std::uint8_t{0};
    full = decay * full + input;
    kept = decay * kept + ((flag & kSource) != 0 ? T(0) : input);
    *at_row(a.out, row.column + i, j) = (flag & kTarget) != 0 ? kept : full;
  }
}

template <class T>
void linear_scan(const Rows& rows, const LinearScanArgs<T>& a) {
  const auto grid = [&](std::int32_t count) {
    return dim3(static_cast<unsigned>(count), blocks_for(a.channels, kLinearThreads));
  };
  launch("linear_clean", linear_clean_kernel<T>,
         {grid(rows.clean_count + rows.slot_count), kLinearThreads}, rows, rows, a);
  if (rows.count > rows.clean_count)
    launch("linear", linear_kernel<T>, {grid(rows.count - rows.clean_count), kLinearThreads}, rows,
           rows, a);
}

// Block (column, channels).
template <class T>
__global__ void filter_kernel(Rows rows, FilterArgs<T> a) {
  const auto column = static_cast<std::int32_t>(blockIdx.x);
  const Row row = rows.rows[rows.row_of[column]];
  const std::int32_t t = rows.position[column], taps = min(a.kernel, t + 1);
  const bool target =
      a.cuts && in_window(row, rows.layer) && (rows.flags[row.flags + t] & kTarget) != 0;
  const auto lost = [&](std::int32_t k) {
    return target && (rows.flags[row.flags + t - k] & kSource) != 0;
  };
  if (target && blockIdx.y == 0 && threadIdx.x == 0) {
    unsigned long long edges = 0;
    for (std::int32_t k = 0; k < taps; ++k) edges += lost(k) ? 1 : 0;
    if (edges > 0) atomicAdd(rows.blocked, edges);
  }
  const std::int64_t j = static_cast<std::int64_t>(blockIdx.y) * kLinearThreads + threadIdx.x;
  if (j >= a.channels) return;
  T sum = a.bias != nullptr ? a.bias[j] : T(0);
  for (std::int32_t k = 0; k < taps; ++k)
    if (!lost(k)) sum += a.weight[k * a.channels + j] * *at_row(a.x, column_of(row, t - k), j);
  *at_row(a.out, column, j) = sum;
}

template <class T>
void filter(const Rows& rows, const FilterArgs<T>& a) {
  if (rows.column_count == 0) return;
  launch("filter", filter_kernel<T>,
         {dim3(static_cast<unsigned>(rows.column_count), blocks_for(a.channels, kLinearThreads)),
          kLinearThreads},
         rows, rows, a);
}

}  // namespace
}  // namespace factflow::kernels
