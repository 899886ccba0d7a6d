// Mamba-1's selective scan on CUDA: clean rows leave states behind, from which the replayed rows read.
//
// Bound by exponentials (one per channel and state) and by memory, in this order. So a token's decays are computed once for the
// full and the kept states of its prompt together, and the states that a cut's rows start from are read once for all of them.
#pragma once

#include <cuda_pipeline_primitives.h>

#include "model/kernels/cuda_common.cuh"

namespace factflow::kernels {
namespace {

constexpr int kScanThreads = 128;  // channels of one block
constexpr int kMaxStates = 16;     // states per channel that fit registers
constexpr int kKeptAtOnce = 3;     // kept states that one block carries beside the full one
constexpr int kTokenTile = 16;     // tokens whose B and C are staged at a time
constexpr int kRowsAhead = 4;      // rows whose inputs are on their way

// One channel's constants, with A ready for exp2.
struct ScanThread {
  float a[kMaxStates];
  float d, bias;
  std::int64_t channel;

  __device__ ScanThread(const ScanArgs<float>& args, std::int64_t c) : d(args.d[c]), bias(args.dt_bias[c]), channel(c) {
#pragma unroll
    for (int n = 0; n < kMaxStates; ++n) a[n] = n < args.state_count ? args.a[n * args.channels + c] * kLog2E : 0.0f;
  }
};

__device__ inline void load_state(const ScanArgs<float>& a, std::int32_t slot, std::int64_t channel, float (&h)[kMaxStates]) {
#pragma unroll
  for (int n = 0; n < kMaxStates; ++n)
    h[n] = slot < 0 || n >= a.state_count ? 0.0f
                                          : a.states[(static_cast<std::int64_t>(slot) * a.state_count + n) * a.channels + channel];
}

__device__ inline void store_state(const ScanArgs<float>& a, std::int32_t slot, std::int64_t channel, const float (&h)[kMaxStates]) {
#pragma unroll
  for (int n = 0; n < kMaxStates; ++n)
    if (n < a.state_count) a.states[(static_cast<std::int64_t>(slot) * a.state_count + n) * a.channels + channel] = h[n];
}

// B and C of one token, the same for all channels. States that a model lacks hold zeros, so that loops need no bounds.
struct alignas(16) Parameters {
  float b[kMaxStates], c[kMaxStates];
  std::uint32_t kept;  // bit k: the k-th kept state takes this token's input
};

__device__ inline void stage(const ScanArgs<float>& a, std::int64_t column, int n, Parameters& to) {
  to.b[n] = n < a.state_count ? a.b.data[column * a.b.stride + n] : 0.0f;
  to.c[n] = n < a.state_count ? a.c.data[column * a.c.stride + n] : 0.0f;
}

// Clean rows. Block (r, tile, part): prompt r's scan and three of its kept states; part 0 also writes the output and the full
// states. The slots of a prompt are its full states, then its kept ones.
__global__ void scan_clean_kernel(Rows rows, ScanArgs<float> a) {
  __shared__ Parameters staged[kTokenTile];
  const Row row = rows.rows[blockIdx.x];
  const std::int32_t slot_end = rows.slot_begin[blockIdx.x + 1];
  std::int32_t kept_begin = rows.slot_begin[blockIdx.x];
  while (kept_begin < slot_end && rows.slots[kept_begin].flags < 0) ++kept_begin;
  const std::int32_t full_end = kept_begin;
  const bool own = blockIdx.z == 0;
  kept_begin += static_cast<std::int32_t>(blockIdx.z) * kKeptAtOnce;
  if (!own && kept_begin >= slot_end) return;
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.y) * kScanThreads + threadIdx.x;
  const bool active = channel < a.channels;
  const ScanThread thread(a, active ? channel : 0);
  StateSlot slot[kKeptAtOnce];
  float h[kMaxStates], kept[kKeptAtOnce][kMaxStates];
#pragma unroll
  for (int k = 0; k < kKeptAtOnce; ++k) slot[k] = kept_begin + k < slot_end ? rows.slots[kept_begin + k] : StateSlot{0, -1};
#pragma unroll
  for (int n = 0; n < kMaxStates; ++n) {
    h[n] = 0;
#pragma unroll
    for (int k = 0; k < kKeptAtOnce; ++k) kept[k][n] = 0;
  }
  const std::int32_t tokens = own ? row.count : max(slot[0].tokens, max(slot[1].tokens, slot[2].tokens));
  float x = 0, z = 0, dt_raw = 0;  // of the token that comes next
  const auto fetch = [&](std::int32_t t) {
    if (t >= tokens || !active) return;
    const std::int64_t column = row.column + t;
    x = a.x.data[column * a.x.stride + channel];
    dt_raw = a.dt.data[column * a.dt.stride + channel];
    if (own) z = a.z.data[column * a.z.stride + channel];
  };
  fetch(0);
  for (std::int32_t begin = 0; begin < tokens; begin += kTokenTile) {
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < kTokenTile * kMaxStates && begin + i / kMaxStates < tokens; i += kScanThreads)
      stage(a, row.column + begin + i / kMaxStates, i % kMaxStates, staged[i / kMaxStates]);
    for (int i = static_cast<int>(threadIdx.x); i < kTokenTile && begin + i < tokens; i += kScanThreads) {
      std::uint32_t bits = 0;
#pragma unroll
      for (int k = 0; k < kKeptAtOnce; ++k)
        if (slot[k].flags >= 0 && begin + i < slot[k].tokens && (rows.flags[slot[k].flags + begin + i] & kSource) == 0) bits |= 1u << k;
      staged[i].kept = bits;
    }
    __syncthreads();
    if (!active) continue;
    for (std::int32_t t = begin; t < tokens && t < begin + kTokenTile; ++t) {
      const Parameters& parameters = staged[t - begin];
      const float own_x = x, own_z = z, dt = softplus(dt_raw + thread.bias), input = dt * own_x;
      fetch(t + 1);
      float kept_input[kKeptAtOnce];
#pragma unroll
      for (int k = 0; k < kKeptAtOnce; ++k) kept_input[k] = (parameters.kept >> k & 1u) != 0 ? input : 0.0f;
      float y = 0;
#pragma unroll
      for (int n = 0; n < kMaxStates; ++n) {
        const float decay = exp2_fast(dt * thread.a[n]), b = parameters.b[n];
        h[n] = decay * h[n] + b * input;
        y += parameters.c[n] * h[n];
#pragma unroll
        for (int k = 0; k < kKeptAtOnce; ++k) kept[k][n] = decay * kept[k][n] + b * kept_input[k];
      }
#pragma unroll
      for (int k = 0; k < kKeptAtOnce; ++k)
        if (slot[k].flags >= 0 && slot[k].tokens == t + 1) store_state(a, kept_begin + k, channel, kept[k]);
      if (!own) continue;
      a.out.data[(row.column + t) * a.out.stride + channel] = (y + thread.d * own_x) * silu(own_z);
      for (std::int32_t s = rows.slot_begin[blockIdx.x]; s < full_end; ++s)
        if (rows.slots[s].tokens == t + 1) store_state(a, s, channel, h);
    }
  }
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

// What a thread needs of a one-token row. Staged for a whole group at once, so that no row waits for its own description.
struct alignas(16) OneToken {
  float c[kMaxStates];
  float c_times_b;      // C . B: what the token's own input contributes, the same for all channels
  std::int32_t column;  // -1: not alive
  std::uint8_t blocked, self;
};

// A row's inputs to the block's channels.
struct RowInput {
  float x[kScanThreads], z[kScanThreads], dt[kScanThreads];
};

// sum_n C[n] exp(dt A[n]) h[n], what a token reads from the state before it.
__device__ inline float read_state(const ScanThread& thread, float dt, const float (&h)[kMaxStates], const float (&c)[kMaxStates]) {
  float even = 0, odd = 0;
#pragma unroll
  for (int n = 0; n < kMaxStates; n += 2) {
    even += c[n] * (exp2_fast(dt * thread.a[n]) * h[n]);
    odd += c[n + 1] * (exp2_fast(dt * thread.a[n + 1]) * h[n + 1]);
  }
  return even + odd;
}

// Describes the alive one-token rows of a group, by all threads of the block.
__device__ inline void stage_group(const Rows& rows, const ScanArgs<float>& a, const RowGroup& group, OneToken* tokens) {
  for (int i = static_cast<int>(threadIdx.x); i < group.count; i += kScanThreads) {
    const std::int32_t index = rows.group_rows[group.begin + i];
    tokens[i].column = -1;
    if (index >= rows.count) continue;
    const Row row = rows.rows[index];
    const bool cut = in_window(row, rows.layer);
    if (cut && blockIdx.y == 0) atomicAdd(rows.blocked, edges_not_seen(rows, row));
    const std::uint8_t flag = cut ? rows.flags[row.flags + row.first_token] : std::uint8_t{0};
    tokens[i].column = row.column;
    tokens[i].blocked = (flag & kTarget) != 0 ? 1 : 0;
    tokens[i].self = (flag & kTarget) != 0 && (flag & kSource) != 0 ? 1 : 0;
  }
  __syncthreads();
  const int n = static_cast<int>(threadIdx.x) % kMaxStates;
  for (int i = static_cast<int>(threadIdx.x) / kMaxStates; i < kRowsPerGroup; i += kScanThreads / kMaxStates) {
    const std::int64_t column = i < group.count ? tokens[i].column : -1;
    const bool there = column >= 0 && n < a.state_count;
    const float c = there ? a.c.data[column * a.c.stride + n] : 0.0f;
    float product = there ? c * a.b.data[column * a.b.stride + n] : 0.0f;
    for (int offset = kMaxStates / 2; offset > 0; offset /= 2) product += __shfl_xor_sync(kAll, product, offset);
    if (column < 0) continue;
    tokens[i].c[n] = c;
    if (n == 0) tokens[i].c_times_b = product;
  }
  __syncthreads();
}

// Replayed rows of one token, in groups of rows that start from the same states: those are read once for all of them. Registers are
// kept few, since what hides the memory's latency is the number of warps.
__global__ void __launch_bounds__(kScanThreads, 6) scan_replay_kernel(Rows rows, ScanArgs<float> a) {
  __shared__ OneToken tokens[kRowsPerGroup];
  __shared__ RowInput inputs[kRowsAhead];
  const RowGroup group = rows.groups[blockIdx.x];
  if (rows.group_rows[group.begin] >= rows.count) return;  // rows are in order of birth
  const Row first = rows.rows[rows.group_rows[group.begin]];
  if (first.count > 1) return;
  stage_group(rows, a, group, tokens);
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.y) * kScanThreads + threadIdx.x;
  if (channel >= a.channels) return;
  const ScanThread thread(a, channel);
  float full[kMaxStates], kept[kMaxStates];
  load_state(a, first.full_state, channel, full);
  load_state(a, first.kept_state, channel, kept);
  // On a channel that keeps the edge the full state is read in the window too.
  const bool loses = a.lose == nullptr || a.lose[first.channels * a.channels + channel] != 0;
  if (!loses) {
#pragma unroll
    for (int n = 0; n < kMaxStates; ++n) kept[n] = full[n];
  }
  // Every thread fetches its own numbers and waits for nobody else's.
  const auto fetch = [&](int i) {
    const std::int64_t column = i < group.count ? tokens[i].column : -1;
    if (column >= 0) {
      RowInput& to = inputs[i % kRowsAhead];
      __pipeline_memcpy_async(&to.x[threadIdx.x], a.x.data + column * a.x.stride + channel, sizeof(float));
      __pipeline_memcpy_async(&to.z[threadIdx.x], a.z.data + column * a.z.stride + channel, sizeof(float));
      __pipeline_memcpy_async(&to.dt[threadIdx.x], a.dt.data + column * a.dt.stride + channel, sizeof(float));
    }
    __pipeline_commit();
  };
#pragma unroll
  for (int i = 0; i < kRowsAhead - 1; ++i) fetch(i);
  for (int i = 0; i < group.count && tokens[i].column >= 0; ++i) {
    const OneToken& token = tokens[i];
    __pipeline_wait_prior(kRowsAhead - 2);
    const RowInput& input = inputs[i % kRowsAhead];
    const float own_x = input.x[threadIdx.x], own_z = input.z[threadIdx.x], dt = softplus(input.dt[threadIdx.x] + thread.bias);
    fetch(i + kRowsAhead - 1);
    float y = token.blocked != 0 ? read_state(thread, dt, kept, token.c) : read_state(thread, dt, full, token.c);
    if (!(loses && token.self != 0)) y += token.c_times_b * (dt * own_x);
    a.out.data[static_cast<std::int64_t>(token.column) * a.out.stride + channel] = (y + thread.d * own_x) * silu(own_z);
  }
}

// One channel of several-token rows: the full and the kept state side by side; only targets read the second.
__device__ inline void scan_suffix(const Rows& rows, const ScanArgs<float>& a, const ScanThread& thread, const Row& row, bool two,
                                   const float (&full)[kMaxStates], const float (&kept)[kMaxStates]) {
  const std::int64_t channel = thread.channel;
  float h[kMaxStates], k[kMaxStates];
#pragma unroll
  for (int n = 0; n < kMaxStates; ++n) {
    h[n] = full[n];
    k[n] = two ? kept[n] : full[n];
  }
  for (std::int32_t s = 0; s < row.count; ++s) {
    const std::int64_t column = row.column + s;
    const std::uint8_t flag = two ? rows.flags[row.flags + row.first_token + s] : std::uint8_t{0};
    const float x = a.x.data[column * a.x.stride + channel];
    const float z = a.z.data[column * a.z.stride + channel];
    const float dt = softplus(a.dt.data[column * a.dt.stride + channel] + thread.bias);
    const float input = dt * x, kept_input = (flag & kSource) != 0 ? 0.0f : input;
    const float* b = a.b.data + column * a.b.stride;
    const float* c = a.c.data + column * a.c.stride;
    float y = 0, y_kept = 0;
#pragma unroll
    for (int n = 0; n < kMaxStates; ++n) {
      if (n >= a.state_count) break;
      const float decay = exp2_fast(dt * thread.a[n]), bn = b[n], cn = c[n];
      h[n] = decay * h[n] + bn * input;
      k[n] = decay * k[n] + bn * kept_input;
      y += cn * h[n];
      y_kept += cn * k[n];
    }
    const float read = (flag & kTarget) != 0 ? y_kept : y;
    a.out.data[column * a.out.stride + channel] = (read + thread.d * x) * silu(z);
  }
}

// Groups of rows of several tokens.
__global__ void scan_suffix_kernel(Rows rows, ScanArgs<float> a) {
  const RowGroup group = rows.groups[blockIdx.x];
  if (rows.group_rows[group.begin] >= rows.count) return;
  const Row first = rows.rows[rows.group_rows[group.begin]];
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.y) * kScanThreads + threadIdx.x;
  if (first.count == 1 || channel >= a.channels) return;
  const ScanThread thread(a, channel);
  float full[kMaxStates], kept[kMaxStates];
  load_state(a, first.full_state, channel, full);
  load_state(a, first.kept_state, channel, kept);
  const bool loses = a.lose == nullptr || a.lose[first.channels * a.channels + channel] != 0;
  for (std::int32_t i = group.begin; i < group.begin + group.count && rows.group_rows[i] < rows.count; ++i) {
    const Row row = rows.rows[rows.group_rows[i]];
    const bool cut = in_window(row, rows.layer);
    if (cut && channel == 0) atomicAdd(rows.blocked, edges_not_seen(rows, row));
    scan_suffix(rows, a, thread, row, loses && cut, full, kept);
  }
}

inline void scan(const Rows& rows, const ScanArgs<float>& a) {
  if (a.state_count > kMaxStates)
    throw std::runtime_error("the CUDA scan holds at most 16 states per channel; this model runs with device: cpu");
  const unsigned tiles = blocks_for(a.channels, kScanThreads);
  if (rows.clean_count > 0) {
    const unsigned parts = rows.most_kept > kKeptAtOnce ? blocks_for(rows.most_kept, kKeptAtOnce) : 1;
    scan_clean_kernel<<<dim3(static_cast<unsigned>(rows.clean_count), tiles, parts), kScanThreads, 0, stream_of(rows)>>>(rows, a);
    check("scan_clean");
  }
  if (rows.count > rows.clean_count && rows.group_count > 0) {
    const dim3 grid(static_cast<unsigned>(rows.group_count), tiles);
    scan_replay_kernel<<<grid, kScanThreads, 0, stream_of(rows)>>>(rows, a);
    check("scan_replay");
    if (rows.suffixes) {
      scan_suffix_kernel<<<grid, kScanThreads, 0, stream_of(rows)>>>(rows, a);
      check("scan_suffix");
    }
  }
}

}  // namespace
}  // namespace factflow::kernels
