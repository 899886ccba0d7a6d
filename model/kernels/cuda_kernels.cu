// The CUDA table. Plain CUDA without libtorch headers: it compiles wherever nvcc is, and is compared with the CPU table by
// tests/model and by `factflow verify --device cuda`.
//
// Every kernel is bound by memory or by special functions, not by multiply-adds, so each reads its inputs once, coalesced
// over channels. Products of matrices are libtorch's.
#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "model/kernels/kernels.hpp"

namespace factflow::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kScanThreads = 128;    // channels of one block of the scan
constexpr int kMaxStates = 16;       // states per channel that fit registers
constexpr int kDualTile = 32;        // source tokens that one pass of the dual form handles
constexpr unsigned kAll = 0xffffffffu;
constexpr float kLog2E = 1.44269504088896341f;

void check(const char* kernel) {
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA kernel ") + kernel + ": " + cudaGetErrorString(error));
}

cudaStream_t stream_of(const Rows& rows) { return static_cast<cudaStream_t>(rows.stream); }

unsigned blocks_for(std::int64_t items, int per_block) { return static_cast<unsigned>((items + per_block - 1) / per_block); }

__device__ bool in_window(const Row& row, int layer) {
  return row.flags >= 0 && layer >= row.window_begin && layer < row.window_end;
}

__device__ std::int32_t column_of(const Row& row, std::int32_t token) {
  return token < row.first_token ? row.clean_column + token : row.column + token - row.first_token;
}

__device__ float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }
__device__ float silu(float x) { return x * sigmoid(x); }
__device__ float softplus(float x) { return x > 20.0f ? x : log1pf(__expf(x)); }

// 2^x in one instruction; results below the normal range become 0.
__device__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ float warp_sum(float x) {
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(kAll, x, offset);
  return x;
}

// The sum over the block, in every thread. `scratch` holds 32 floats.
__device__ float block_sum(float x, float* scratch) {
  x = warp_sum(x);
  __syncthreads();
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  const int warps = static_cast<int>(blockDim.x) / 32;
  return warp_sum(static_cast<int>(threadIdx.x % 32) < warps ? scratch[threadIdx.x % 32] : 0.0f);
}

__global__ void norm_kernel(NormArgs<float> a) {
  __shared__ float scratch[32];
  const std::int64_t row = blockIdx.x;
  const float* x = a.x.data + row * a.x.stride;
  float* out = a.out.data + row * a.out.stride;
  float mean = 0;
  if (a.subtract_mean) {
    for (std::int64_t j = threadIdx.x; j < a.width; j += blockDim.x) mean += x[j];
    mean = block_sum(mean, scratch) / static_cast<float>(a.width);
  }
  float square = 0;
  for (std::int64_t j = threadIdx.x; j < a.width; j += blockDim.x) square += (x[j] - mean) * (x[j] - mean);
  square = block_sum(square, scratch);
  const float scale = 1.0f / sqrtf(square / static_cast<float>(a.width) + static_cast<float>(a.epsilon));
  for (std::int64_t j = threadIdx.x; j < a.width; j += blockDim.x) {
    float value = (x[j] - mean) * scale;
    if (a.weight != nullptr) value *= a.weight[j];
    if (a.bias != nullptr) value += a.bias[j];
    out[j] = value;
  }
}

void norm(const Rows& rows, const NormArgs<float>& a) {
  if (a.rows == 0) return;
  norm_kernel<<<static_cast<unsigned>(a.rows), a.width >= 1024 ? kThreads : 64, 0, stream_of(rows)>>>(a);
  check("norm");
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

// The same, four channels a thread.
__global__ void conv_wide_kernel(Rows rows, ConvArgs<float> a) {
  const std::int32_t column = static_cast<std::int32_t>(blockIdx.x);
  for (std::int64_t channel = 4 * static_cast<std::int64_t>(threadIdx.x); channel < a.channels; channel += 4 * blockDim.x) {
    float4 sum = a.bias != nullptr ? *reinterpret_cast<const float4*>(a.bias + channel) : make_float4(0, 0, 0, 0);
    std::int32_t seen = column;
    for (int k = 0; k < a.kernel && seen >= 0; ++k, seen = rows.previous[seen]) {
      const float4 w = *reinterpret_cast<const float4*>(a.weight + k * a.channels + channel);
      const float4 x = *reinterpret_cast<const float4*>(a.x.data + seen * a.x.stride + channel);
      sum.x += w.x * x.x;
      sum.y += w.y * x.y;
      sum.z += w.z * x.z;
      sum.w += w.w * x.w;
    }
    *reinterpret_cast<float4*>(a.out.data + column * a.out.stride + channel) = make_float4(silu(sum.x), silu(sum.y), silu(sum.z), silu(sum.w));
  }
}

bool in_fours(const void* data, std::int64_t stride) { return stride % 4 == 0 && reinterpret_cast<std::uintptr_t>(data) % 16 == 0; }

void conv(const Rows& rows, const ConvArgs<float>& a) {
  if (rows.column_count == 0) return;
  if (a.channels % 4 == 0 && in_fours(a.x.data, a.x.stride) && in_fours(a.out.data, a.out.stride) && in_fours(a.weight, 0) &&
      in_fours(a.bias, 0)) {
    conv_wide_kernel<<<static_cast<unsigned>(rows.column_count), kThreads, 0, stream_of(rows)>>>(rows, a);
    check("conv_wide");
    return;
  }
  const dim3 grid(static_cast<unsigned>(rows.column_count), blocks_for(a.channels, kThreads));
  conv_kernel<<<grid, kThreads, 0, stream_of(rows)>>>(rows, a);
  check("conv");
}

// One channel's part of a token: dt, input, and A ready for exp2.
struct ScanThread {
  float a[kMaxStates];
  float d, bias;
  std::int64_t channel;

  __device__ ScanThread(const ScanArgs<float>& args, std::int64_t c) : d(args.d[c]), bias(args.dt_bias[c]), channel(c) {
#pragma unroll
    for (int n = 0; n < kMaxStates; ++n) a[n] = n < args.state_count ? args.a[n * args.channels + c] * kLog2E : 0.0f;
  }
};

// B or C of one token into registers: the same address in every thread, so wide loads where alignment allows.
__device__ void load_parameters(const float* from, int count, bool wide, float (&to)[kMaxStates]) {
  if (wide) {
#pragma unroll
    for (int n = 0; n < kMaxStates; n += 4) {
      const float4 four = *reinterpret_cast<const float4*>(from + n);
      to[n] = four.x;
      to[n + 1] = four.y;
      to[n + 2] = four.z;
      to[n + 3] = four.w;
    }
    return;
  }
#pragma unroll
  for (int n = 0; n < kMaxStates; ++n) to[n] = n < count ? from[n] : 0.0f;
}

bool wide_parameters(const ScanArgs<float>& a) {
  const auto aligned = [](const Matrix<const float>& m) {
    return m.stride % 4 == 0 && reinterpret_cast<std::uintptr_t>(m.data) % 16 == 0;
  };
  return a.state_count == kMaxStates && aligned(a.b) && aligned(a.c);
}

__device__ void load_state(const ScanArgs<float>& a, std::int32_t slot, std::int64_t channel, float (&h)[kMaxStates]) {
#pragma unroll
  for (int n = 0; n < kMaxStates; ++n)
    h[n] = slot < 0 || n >= a.state_count ? 0.0f
                                          : a.states[(static_cast<std::int64_t>(slot) * a.state_count + n) * a.channels + channel];
}

__device__ void store_state(const ScanArgs<float>& a, std::int32_t slot, std::int64_t channel, const float (&h)[kMaxStates]) {
#pragma unroll
  for (int n = 0; n < kMaxStates; ++n)
    if (n < a.state_count) a.states[(static_cast<std::int64_t>(slot) * a.state_count + n) * a.channels + channel] = h[n];
}

// Clean rows: blockIdx.x < clean_count is a prompt's own scan, which also leaves its full states; the rest are kept states.
__global__ void scan_clean_kernel(Rows rows, ScanArgs<float> a) {
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.y) * kScanThreads + threadIdx.x;
  if (channel >= a.channels) return;
  const bool own = blockIdx.x < static_cast<unsigned>(rows.clean_count);
  std::int32_t r = static_cast<std::int32_t>(blockIdx.x), slot = -1, flags = -1;
  if (!own) {
    slot = static_cast<std::int32_t>(blockIdx.x) - rows.clean_count;
    flags = rows.slots[slot].flags;
    if (flags < 0) return;  // a full state: its prompt's own scan writes it
    std::int32_t low = 0, high = rows.clean_count;  // the prompt whose slots hold this one
    while (high - low > 1) {
      const std::int32_t middle = (low + high) / 2;
      if (rows.slot_begin[middle] <= slot) low = middle;
      else high = middle;
    }
    r = low;
  }
  const Row row = rows.rows[r];
  const std::int32_t tokens = own ? row.count : rows.slots[slot].tokens;
  const ScanThread thread(a, channel);
  float h[kMaxStates];
#pragma unroll
  for (int n = 0; n < kMaxStates; ++n) h[n] = 0;
  for (std::int32_t t = 0; t < tokens; ++t) {
    const std::int64_t column = row.column + t;
    const float x = a.x.data[column * a.x.stride + channel];
    const float dt = softplus(a.dt.data[column * a.dt.stride + channel] + thread.bias);
    const float input = flags >= 0 && (rows.flags[flags + t] & kSource) != 0 ? 0.0f : dt * x;
    const float* b = a.b.data + column * a.b.stride;
    const float* c = a.c.data + column * a.c.stride;
    float y = 0;
#pragma unroll
    for (int n = 0; n < kMaxStates; ++n) {
      if (n >= a.state_count) break;
      h[n] = exp2_fast(dt * thread.a[n]) * h[n] + b[n] * input;
      y += c[n] * h[n];
    }
    if (!own) continue;
    const float z = a.z.data[column * a.z.stride + channel];
    a.out.data[column * a.out.stride + channel] = (y + thread.d * x) * silu(z);
    for (std::int32_t s = rows.slot_begin[r]; s < rows.slot_begin[r + 1]; ++s)
      if (rows.slots[s].flags < 0 && rows.slots[s].tokens == t + 1) store_state(a, s, channel, h);
  }
  if (!own) store_state(a, slot, channel, h);
}

// Edges that targets of the row do not see, from flags alone: what the kept state leaves out.
__device__ unsigned long long edges_not_seen(const Rows& rows, const Row& row) {
  unsigned long long edges = 0, skipped = 0;
  for (std::int32_t t = 0; t < row.first_token + row.count; ++t) {
    const std::uint8_t flag = rows.flags[row.flags + t];
    if ((flag & kSource) != 0) ++skipped;
    if ((flag & kTarget) != 0) edges += skipped;
  }
  return edges;
}

// What a thread needs of a one-token row. Staged for a whole group at once, so that no row waits for its own description.
struct OneToken {
  std::int32_t column;  // -1: not alive, or several tokens
  std::uint8_t blocked, self;
};

// One channel of several-token rows: the full and the kept state side by side; only targets read the second.
__device__ void scan_suffix(const Rows& rows, const ScanArgs<float>& a, const ScanThread& thread, const Row& row, bool two,
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

// Replayed rows, in groups of rows that start from the same states: those are read once for all of them.
__global__ void scan_replay_kernel(Rows rows, ScanArgs<float> a, bool wide) {
  __shared__ OneToken tokens[kRowsPerGroup];
  const RowGroup group = rows.groups[blockIdx.x];
  if (rows.group_rows[group.begin] >= rows.count) return;  // rows are in order of birth
  const Row first = rows.rows[rows.group_rows[group.begin]];
  for (int i = static_cast<int>(threadIdx.x); i < group.count; i += kScanThreads) {
    const std::int32_t index = rows.group_rows[group.begin + i];
    tokens[i] = {-1, 0, 0};
    if (index >= rows.count) continue;
    const Row row = rows.rows[index];
    const bool cut = in_window(row, rows.layer);
    if (cut && blockIdx.y == 0) atomicAdd(rows.blocked, edges_not_seen(rows, row));
    if (row.count > 1) continue;
    const std::uint8_t flag = cut ? rows.flags[row.flags + row.first_token] : std::uint8_t{0};
    const bool blocked = (flag & kTarget) != 0;
    tokens[i] = {row.column, static_cast<std::uint8_t>(blocked), static_cast<std::uint8_t>(blocked && (flag & kSource) != 0)};
  }
  __syncthreads();
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.y) * kScanThreads + threadIdx.x;
  if (channel >= a.channels) return;
  const ScanThread thread(a, channel);
  float full[kMaxStates], kept[kMaxStates];
  load_state(a, first.full_state, channel, full);
  load_state(a, first.kept_state, channel, kept);
  // On a channel that keeps the edge the full state is read in the window too.
  const bool loses = a.lose == nullptr || a.lose[first.channels * a.channels + channel] != 0;
  if (first.count > 1) {
    for (std::int32_t i = group.begin; i < group.begin + group.count && rows.group_rows[i] < rows.count; ++i) {
      const Row row = rows.rows[rows.group_rows[i]];
      scan_suffix(rows, a, thread, row, loses && in_window(row, rows.layer), full, kept);
    }
    return;
  }
  float x = 0, z = 0, dt_raw = 0;  // of the row that comes next
  const auto fetch = [&](int i) {
    const std::int64_t column = i < group.count ? tokens[i].column : -1;
    if (column < 0) return;
    x = a.x.data[column * a.x.stride + channel];
    z = a.z.data[column * a.z.stride + channel];
    dt_raw = a.dt.data[column * a.dt.stride + channel];
  };
  fetch(0);
  for (int i = 0; i < group.count && tokens[i].column >= 0; ++i) {
    const std::int64_t column = tokens[i].column;
    const bool blocked = loses && tokens[i].blocked != 0, self = loses && tokens[i].self != 0;
    const float own_x = x, own_z = z, dt = softplus(dt_raw + thread.bias);
    float b[kMaxStates], c[kMaxStates], y = 0;
    load_parameters(a.b.data + column * a.b.stride, a.state_count, wide, b);
    load_parameters(a.c.data + column * a.c.stride, a.state_count, wide, c);
    fetch(i + 1);
    const float input = self ? 0.0f : dt * own_x;
#pragma unroll
    for (int n = 0; n < kMaxStates; ++n)
      y += c[n] * (exp2_fast(dt * thread.a[n]) * (blocked ? kept[n] : full[n]) + b[n] * input);
    a.out.data[column * a.out.stride + channel] = (y + thread.d * own_x) * silu(own_z);
  }
}

void scan(const Rows& rows, const ScanArgs<float>& a) {
  if (a.state_count > kMaxStates)
    throw std::runtime_error("the CUDA scan holds at most 16 states per channel; this model runs with device: cpu");
  const unsigned tiles = blocks_for(a.channels, kScanThreads);
  if (rows.clean_count + rows.slot_count > 0) {
    const dim3 grid(static_cast<unsigned>(rows.clean_count + rows.slot_count), tiles);
    scan_clean_kernel<<<grid, kScanThreads, 0, stream_of(rows)>>>(rows, a);
    check("scan_clean");
  }
  if (rows.count > rows.clean_count && rows.group_count > 0) {
    const dim3 grid(static_cast<unsigned>(rows.group_count), tiles);
    scan_replay_kernel<<<grid, kScanThreads, 0, stream_of(rows)>>>(rows, a, wide_parameters(a));
    check("scan_replay");
  }
}

// One block per column and group. Source tokens are taken in tiles from the column's own token backwards; `segment` carries
// each head's sum of dt A over the tokens passed.
__global__ void dual_kernel(Rows rows, DualArgs<float> a) {
  extern __shared__ float shared[];
  const int heads = a.heads / a.groups;
  float* score = shared;                     // [kDualTile] C . B
  float* segment = score + kDualTile;        // [heads]
  float* weight = segment + heads;           // [kDualTile, heads]
  const std::int32_t column = static_cast<std::int32_t>(blockIdx.x);
  const int group = static_cast<int>(blockIdx.y), first = group * heads;
  const Row row = rows.rows[rows.row_of[column]];
  const std::int32_t t = rows.position[column];
  const bool target = in_window(row, rows.layer) && (rows.flags[row.flags + t] & kTarget) != 0;
  const std::uint8_t* lose = target ? a.lose + row.channels * a.heads : nullptr;
  const int channels = heads * a.head_size, offset = first * a.head_size;
  const float* own = a.x.data + column * a.x.stride + offset;
  float* out = a.out.data + column * a.out.stride + offset;
  const float* c = a.c.data + column * a.c.stride + group * a.states;
  for (int h = static_cast<int>(threadIdx.x); h < heads; h += static_cast<int>(blockDim.x)) segment[h] = 0;
  for (int j = static_cast<int>(threadIdx.x); j < channels; j += static_cast<int>(blockDim.x)) out[j] = a.d[first + j / a.head_size] * own[j];
  for (std::int32_t top = t; top >= 0; top -= kDualTile) {
    const int tile = top + 1 < kDualTile ? top + 1 : kDualTile;
    __syncthreads();
    const int warps = static_cast<int>(blockDim.x) / 32, warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    for (int i = warp; i < tile; i += warps) {
      const float* b = a.b.data + column_of(row, top - i) * a.b.stride + group * a.states;
      float sum = 0;
      for (int n = lane; n < a.states; n += 32) sum += c[n] * b[n];
      sum = warp_sum(sum);
      if (lane == 0) score[i] = sum;
    }
    __syncthreads();
    for (int h = static_cast<int>(threadIdx.x); h < heads; h += static_cast<int>(blockDim.x)) {
      float sum = segment[h];
      for (int i = 0; i < tile; ++i) {
        const std::int32_t s = top - i;
        float dt = softplus(a.dt.data[column_of(row, s) * a.dt.stride + first + h] + a.dt_bias[first + h]);
        dt = fminf(fmaxf(dt, static_cast<float>(a.dt_min)), static_cast<float>(a.dt_max));
        const bool blocked = target && (rows.flags[row.flags + s] & kSource) != 0;
        if (blocked && h == 0 && group == 0) atomicAdd(rows.blocked, 1ull);
        weight[i * heads + h] = blocked && lose[first + h] != 0 ? 0.0f : score[i] * expf(sum) * dt;
        sum += dt * a.a[first + h];
      }
      segment[h] = sum;
    }
    __syncthreads();
    for (int j = static_cast<int>(threadIdx.x); j < channels; j += static_cast<int>(blockDim.x)) {
      float y = out[j];
      for (int i = 0; i < tile; ++i)
        y += weight[i * heads + j / a.head_size] * a.x.data[column_of(row, top - i) * a.x.stride + offset + j];
      out[j] = y;
    }
  }
}

void dual(const Rows& rows, const DualArgs<float>& a) {
  if (rows.column_count == 0) return;
  const size_t heads = static_cast<size_t>(a.heads / a.groups);
  const size_t bytes = sizeof(float) * (kDualTile + heads + kDualTile * heads);
  static_cast<void>(cudaFuncSetAttribute(dual_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
  const dim3 grid(static_cast<unsigned>(rows.column_count), static_cast<unsigned>(a.groups));
  dual_kernel<<<grid, kThreads, bytes, stream_of(rows)>>>(rows, a);
  check("dual");
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

void gated_norm(const Rows& rows, const GatedNormArgs<float>& a) {
  if (a.rows == 0) return;
  const dim3 grid(static_cast<unsigned>(a.rows), static_cast<unsigned>(a.width / a.group));
  gated_norm_kernel<<<grid, kThreads, 0, stream_of(rows)>>>(a);
  check("gated_norm");
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

void rotary(const Rows& rows, const RotaryArgs<float>& a) {
  if (rows.column_count == 0) return;
  rotary_kernel<<<static_cast<unsigned>(rows.column_count), kThreads, 0, stream_of(rows)>>>(rows, a);
  check("rotary");
}

// One warp per column and head; the softmax is kept up to date while the keys pass (Milakov & Gimelshein 2018).
constexpr int kMaxHeadParts = 8;  // head_size up to 256
__global__ void attention_kernel(Rows rows, AttentionArgs<float> a) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t item = static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / 32) + warp;
  if (item >= static_cast<std::int64_t>(rows.column_count) * a.heads) return;
  const auto column = static_cast<std::int32_t>(item / a.heads);
  const int head = static_cast<int>(item % a.heads);
  const Row row = rows.rows[rows.row_of[column]];
  const std::int32_t t = rows.position[column];
  const bool target = in_window(row, rows.layer) && (rows.flags[row.flags + t] & kTarget) != 0;
  const std::int32_t begin = a.sliding_window > 0 && t >= a.sliding_window ? t - a.sliding_window + 1 : 0;
  const std::int64_t key_head = static_cast<std::int64_t>(head / (a.heads / a.key_heads)) * a.head_size;
  const float* q = a.q.data + column * a.q.stride + head * a.head_size;
  float query[kMaxHeadParts], sum[kMaxHeadParts];
#pragma unroll
  for (int p = 0; p < kMaxHeadParts; ++p) {
    query[p] = p * 32 + lane < a.head_size ? q[p * 32 + lane] * static_cast<float>(a.scale) : 0.0f;
    sum[p] = 0;
  }
  float largest = -INFINITY, total = 0;
  unsigned long long edges = 0;
  for (std::int32_t s = 0; s <= t; ++s) {
    if (target && (rows.flags[row.flags + s] & kSource) != 0) {
      ++edges;
      continue;
    }
    if (s < begin) continue;
    const std::int64_t seen = column_of(row, s);
    const float* k = a.k.data + seen * a.k.stride + key_head;
    const float* v = a.v.data + seen * a.v.stride + key_head;
    float score = 0;
#pragma unroll
    for (int p = 0; p < kMaxHeadParts; ++p)
      if (p * 32 + lane < a.head_size) score += query[p] * k[p * 32 + lane];
    score = warp_sum(score);
    const float next = fmaxf(largest, score), shrink = expf(largest - next), weight = expf(score - next);
    total = total * shrink + weight;
#pragma unroll
    for (int p = 0; p < kMaxHeadParts; ++p)
      if (p * 32 + lane < a.head_size) sum[p] = sum[p] * shrink + weight * v[p * 32 + lane];
    largest = next;
  }
  if (edges > 0 && head == 0 && lane == 0) atomicAdd(rows.blocked, edges);
  float* out = a.out.data + column * a.out.stride + head * a.head_size;
#pragma unroll
  for (int p = 0; p < kMaxHeadParts; ++p)
    if (p * 32 + lane < a.head_size) out[p * 32 + lane] = largest == -INFINITY ? 0.0f : sum[p] / total;
}

void attention(const Rows& rows, const AttentionArgs<float>& a) {
  if (a.head_size > 32 * kMaxHeadParts)
    throw std::runtime_error("the CUDA attention takes heads of at most 256 dimensions; this model runs with device: cpu");
  if (rows.column_count == 0) return;
  attention_kernel<<<blocks_for(static_cast<std::int64_t>(rows.column_count) * a.heads, kThreads / 32), kThreads, 0, stream_of(rows)>>>(rows, a);
  check("attention");
}

__device__ float activate(Activation kind, float x) {
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

void activation(const Rows& rows, const ActivationArgs<float>& a) {
  if (a.rows == 0) return;
  const dim3 grid(static_cast<unsigned>(a.rows), blocks_for(a.width, kThreads));
  activation_kernel<<<grid, kThreads, 0, stream_of(rows)>>>(a);
  check("activation");
}

__global__ void gather_kernel(GatherArgs<float> a) {
  const std::int64_t row = blockIdx.x, from = a.index[row];
  for (std::int64_t j = threadIdx.x; j < a.width; j += blockDim.x) a.out.data[row * a.out.stride + j] = a.x.data[from * a.x.stride + j];
}

void gather(const Rows& rows, const GatherArgs<float>& a) {
  if (a.rows == 0) return;
  gather_kernel<<<static_cast<unsigned>(a.rows), kThreads, 0, stream_of(rows)>>>(a);
  check("gather");
}

__global__ void answer_kernel(AnswerArgs<float> a) {
  __shared__ float scratch[32];
  __shared__ float largest_of[32];
  const std::int64_t row = blockIdx.x;
  const float* logits = a.logits.data + row * a.logits.stride;
  const float right = logits[a.answer[row]];
  float largest = -INFINITY, likelier = 0;
  bool nan = false;
  for (std::int64_t j = threadIdx.x; j < a.vocabulary; j += blockDim.x) {
    const float x = logits[j];
    nan = nan || x != x;
    largest = fmaxf(largest, x);
    likelier += x > right ? 1.0f : 0.0f;  // exact: a vocabulary is far below 2^24
  }
  for (int offset = 16; offset > 0; offset /= 2) largest = fmaxf(largest, __shfl_xor_sync(kAll, largest, offset));
  if (threadIdx.x % 32 == 0) largest_of[threadIdx.x / 32] = largest;
  __syncthreads();
  for (int w = 0; w < static_cast<int>(blockDim.x) / 32; ++w) largest = fmaxf(largest, largest_of[w]);
  float sum = nan ? NAN : 0.0f;
  for (std::int64_t j = threadIdx.x; j < a.vocabulary; j += blockDim.x) sum += expf(logits[j] - largest);
  sum = block_sum(sum, scratch);
  likelier = block_sum(likelier, scratch);
  if (threadIdx.x == 0) {
    a.log_probability[row] = static_cast<double>(right) - static_cast<double>(largest) - log(static_cast<double>(sum));
    a.rank[row] = 1 + static_cast<std::int32_t>(likelier);
  }
}

void answer(const Rows& rows, const AnswerArgs<float>& a) {
  if (a.rows == 0) return;
  answer_kernel<<<static_cast<unsigned>(a.rows), kThreads, 0, stream_of(rows)>>>(a);
  check("answer");
}

const KernelTable<float> kTable{norm, conv, scan, dual, gated_norm, rotary, attention, activation, gather, answer};

}  // namespace

const KernelTable<float>& cuda_kernels() { return kTable; }

}  // namespace factflow::kernels
