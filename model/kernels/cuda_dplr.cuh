// The generalised delta rule of RWKV-7 on CUDA, unrolled over tokens (DplrDeltaArgs): as long as
// prompts have few tokens, what they write and take away is less to read than a state, which has
// head_size times as many numbers as one of these. A warp works on one head of a row, or of a kept
// state's tokens: it goes back from token to token with the vectors that the state is multiplied
// by, which decay on the way, and adds up what each token gives. Each lane has some channels, so
// that no thread reads what another has changed, and nothing is in shared memory.
#pragma once

#include "model/kernels/cuda_common.cuh"

namespace factflow::kernels {
namespace {

constexpr int kDplrWarps = 4;  // heads of one row in a block

// A warp with `per` channels in each lane, lane, lane + 32, ..
template <int per>
struct DplrWarp {
  const Rows& rows;
  const DplrDeltaArgs<float>& a;
  Row row;
  int head;
  int lane = static_cast<int>(threadIdx.x) % 32;
  struct Vector {
    float x[per];
  };

  __device__ DplrWarp(const Rows& all, const DplrDeltaArgs<float>& args, const Row& of, int of_head)
      : rows(all), a(args), row(of), head(of_head) {}

  __device__ bool has(int i) const { return lane + 32 * i < a.head_size; }
  __device__ std::int64_t channel() const { return std::int64_t{head} * a.head_size + lane; }
  __device__ Vector loaded(const float* from) const {  // from: the lane's first channel
    Vector v;
#pragma unroll
    for (int i = 0; i < per; ++i) v.x[i] = has(i) ? from[32 * i] : 0.0f;
    return v;
  }
  __device__ Vector loaded(const Matrix<const float>& matrix, std::int32_t column) const {
    return loaded(at_row(matrix, column, channel()));
  }
  __device__ void stored(float* to, const Vector& v) const {
#pragma unroll
    for (int i = 0; i < per; ++i)
      if (has(i)) to[32 * i] = v.x[i];
  }
  __device__ static float dot(const Vector& p, const Vector& q) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < per; ++i) sum += p.x[i] * q.x[i];
    return warp_sum(sum);
  }

  // found = what S[t-1] gives for the probes. flags: of the row's tokens, null: all enters;
  // removed_of(s): where e of token s is.
  template <int count, class RemovedOf>
  __device__ void look(std::int32_t t, const std::uint8_t* flags, const RemovedOf& removed_of,
                       Vector (&probes)[count], Vector (&found)[count]) const {
#pragma unroll
    for (int p = 0; p < count; ++p) found[p] = Vector{};
#pragma unroll 2
    for (std::int32_t s = t - 1; s >= 0; --s) {
      const std::int32_t column = column_of(row, s);
      const Vector k = loaded(a.keys, column), z = loaded(a.erasing, column),
                   v = loaded(a.values, column), w = loaded(a.decay, column),
                   e = loaded(removed_of(s));
      const float enters = flags != nullptr && (flags[s] & kSource) != 0 ? 0.0f : 1.0f;
#pragma unroll
      for (int p = 0; p < count; ++p) {
        const float written = enters * dot(probes[p], k), removed = dot(probes[p], z);
#pragma unroll
        for (int i = 0; i < per; ++i) {
          found[p].x[i] += written * v.x[i] + removed * e.x[i];
          probes[p].x[i] *= w.x[i];
        }
      }
    }
  }

  // Reads token t into `out`, and what it takes away into `removed`, or not where they are null.
  template <class RemovedOf>
  __device__ void mix(std::int32_t t, const std::uint8_t* flags, const RemovedOf& removed_of,
                      float* out, float* removed) const {
    const std::int32_t column = column_of(row, t);
    const std::uint8_t flag = flags == nullptr ? std::uint8_t{0} : flags[t];
    const float writes = (flag & kSource) != 0 ? 0.0f : 1.0f,
                erases = (flag & kErase) != 0 ? 0.0f : 1.0f;
    const Vector kk = loaded(a.erased, column);
    if (out == nullptr) {
      Vector probes[1] = {kk}, found[1];
      look(t, flags, removed_of, probes, found);
#pragma unroll
      for (int i = 0; i < per; ++i) found[0].x[i] *= -erases;
      stored(removed, found[0]);
      return;
    }
    const Vector r = loaded(a.receptance, column), w = loaded(a.decay, column),
                 v = loaded(a.values, column);
    const float written = writes * dot(r, loaded(a.keys, column)),
                turned = dot(r, loaded(a.erasing, column));
    Vector read;
    if (removed == nullptr) {  // S[t] r = S[t-1] (w r - (z . r) kk) + (k . r) v
      Vector probes[1], found[1];
#pragma unroll
      for (int i = 0; i < per; ++i) probes[0].x[i] = w.x[i] * r.x[i] - erases * turned * kk.x[i];
      look(t, flags, removed_of, probes, found);
      read = found[0];
    } else {
      Vector probes[2] = {{}, kk}, found[2];
#pragma unroll
      for (int i = 0; i < per; ++i) probes[0].x[i] = w.x[i] * r.x[i];
      look(t, flags, removed_of, probes, found);
#pragma unroll
      for (int i = 0; i < per; ++i) {
        found[1].x[i] *= -erases;
        read.x[i] = found[0].x[i] + turned * found[1].x[i];
      }
      stored(removed, found[1]);
    }
#pragma unroll
    for (int i = 0; i < per; ++i) read.x[i] += written * v.x[i];
    stored(out, read);
  }

  __device__ float* at(const Matrix<float>& matrix, std::int32_t column) const {
    return at_row(matrix, column, channel());
  }
  __device__ float* slot_removed(std::int32_t slot, std::int32_t token) const {
    const std::int64_t place = static_cast<std::int64_t>(slot) * rows.longest + token;
    return a.slot_removed + place * a.heads * a.head_size + channel();
  }

  // All tokens of the row from its first on, in the full state. Nobody asks what the last one
  // takes.
  __device__ void mix_fully() const {
    for (std::int32_t i = 0; i < row.count; ++i)
      mix(
          row.first_token + i, nullptr,
          [&](std::int32_t s) { return at(a.removed, column_of(row, s)); },
          at(a.out, row.column + i), i + 1 < row.count ? at(a.removed, row.column + i) : nullptr);
  }
  // The tokens of a slot of the row, in its kept state.
  __device__ void fill_slot(std::int32_t index) const {
    const StateSlot slot = rows.slots[index];
    for (std::int32_t t = 0; t < slot.tokens; ++t)
      mix(
          t, rows.flags + slot.flags, [&](std::int32_t s) { return slot_removed(index, s); },
          nullptr, slot_removed(index, t));
  }
  // The targets of the row in its kept state.
  __device__ void mix_kept() const {
    const bool apart = row.kept_state >= 0 && rows.slots[row.kept_state].flags >= 0;
    const std::uint8_t* flags = rows.flags + row.flags;
    const auto removed_of = [&](std::int32_t s) {
      if (s >= row.first_token) return at(a.kept_removed, row.column + s - row.first_token);
      return apart ? slot_removed(row.kept_state, s) : at(a.removed, row.clean_column + s);
    };
    for (std::int32_t i = 0; i < row.count; ++i) {
      const bool target = (flags[row.first_token + i] & kTarget) != 0, last = i + 1 == row.count;
      if (!target && last) continue;
      mix(row.first_token + i, flags, removed_of, target ? at(a.out, row.column + i) : nullptr,
          last ? nullptr : at(a.kept_removed, row.column + i));
    }
  }
};

// The head of this warp; not below a.heads: there is none.
__device__ inline int dplr_head() {
  return static_cast<int>(blockIdx.y) * kDplrWarps + static_cast<int>(threadIdx.x) / 32;
}

// Clean rows, then kept states: block (row or slot, heads).
template <int per>
__global__ void __launch_bounds__(32 * kDplrWarps)
    dplr_clean_kernel(Rows rows, DplrDeltaArgs<float> a) {
  const auto index = static_cast<std::int32_t>(blockIdx.x);
  const std::int32_t slot = index - rows.clean_count;
  if (slot >= 0 && rows.slots[slot].flags < 0) return;  // that of the clean row
  if (dplr_head() >= a.heads) return;
  const Row row = rows.rows[slot < 0 ? index : clean_row_of(rows, slot)];
  const DplrWarp<per> warp(rows, a, row, dplr_head());
  if (slot < 0)
    warp.mix_fully();
  else
    warp.fill_slot(slot);
}

// Replayed rows: block (row, heads).
template <int per>
__global__ void __launch_bounds__(32 * kDplrWarps) dplr_kernel(Rows rows, DplrDeltaArgs<float> a) {
  const Row row = rows.rows[rows.clean_count + static_cast<std::int32_t>(blockIdx.x)];
  const bool cut = in_window(row, rows.layer);
  if (cut && blockIdx.y == 0) count_row_edges(rows, row);
  const int head = dplr_head();
  if (head >= a.heads) return;
  const DplrWarp<per> warp(rows, a, row, head);
  const bool loses = cut && a.lose[row.channels * a.heads + head] != 0;
  const bool only_kept =
      loses && row.count == 1 && (rows.flags[row.flags + row.first_token] & kTarget) != 0;
  if (!only_kept) warp.mix_fully();
  if (loses) warp.mix_kept();
}

template <int per>
void dplr_delta_of(const Rows& rows, const DplrDeltaArgs<float>& a) {
  const auto grid = [&](std::int32_t count) {
    return dim3(static_cast<unsigned>(count), blocks_for(a.heads, kDplrWarps));
  };
  launch("dplr_clean", dplr_clean_kernel<per>,
         {grid(rows.clean_count + rows.slot_count), 32 * kDplrWarps}, rows, rows, a);
  if (rows.count > rows.clean_count)
    launch("dplr", dplr_kernel<per>, {grid(rows.count - rows.clean_count), 32 * kDplrWarps}, rows,
           rows, a);
}

inline void dplr_delta(const Rows& rows, const DplrDeltaArgs<float>& a) {
  static_assert(kLargestDplrHead == 32 * 8);
  if (a.head_size <= 32) return dplr_delta_of<1>(rows, a);
  if (a.head_size <= 64) return dplr_delta_of<2>(rows, a);
  if (a.head_size <= 128) return dplr_delta_of<4>(rows, a);
  dplr_delta_of<8>(rows, a);
}

}  // namespace
}  // namespace factflow::kernels
