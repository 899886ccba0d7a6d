// Mamba-1's selective scan on CUDA.
//
// Bound by exponentials (one per channel and state) and by memory, in this order. One block runs the clean
// row of a prompt on some channels, carrying beside the full state up to three that leave out the sources of
// a cut; when it comes to the last token it reads these states, still in registers, for all replays of that
// token, and then goes on with the clean one. So states never travel through memory, a token's decays are
// computed once for all of them, and the inputs of the next tokens are on their way while one is computed.
// Replays of several tokens start from states in memory, in a kernel of their own.
#pragma once

#include <cuda_pipeline_primitives.h>

#include "model/kernels/cuda_common.cuh"

namespace factflow::kernels {
namespace {

constexpr int kScanThreads = 128;         // channels of one block
constexpr int kMaxStates = 16;            // states per channel that fit registers
constexpr int kTokenTile = 16;            // clean tokens whose B and C are staged at a time
constexpr int kInputRing = 8;             // tokens whose inputs are in shared memory or on their way
constexpr int kAhead = kInputRing - 2;    // of them on their way, while two are read
constexpr int kFullState = kKeptPerPart;  // index of the full state after the kept ones of a part
constexpr int kBlockedBit = 1 << 8;       // beside such an index

// One channel's constants, with A ready for exp2.
struct ScanThread {
  float a[kMaxStates];
  float d, bias;
  std::int64_t channel;

  template <class T>
  __device__ ScanThread(const ScanArgs<T>& args, std::int64_t c)
      : d(args.d[c]), bias(args.dt_bias[c]), channel(c) {
#pragma unroll
    for (int n = 0; n < kMaxStates; ++n)
      a[n] = n < args.state_count ? args.a[n * args.channels + c] * kLog2E : 0.0f;
  }
};

template <class T>
__device__ float* state_at(const ScanArgs<T>& a, std::int32_t slot, std::int64_t channel) {
  return a.states + static_cast<std::int64_t>(slot) * a.state_count * a.channels + channel;
}

template <class T>
__device__ void load_state(const ScanArgs<T>& a, std::int32_t slot, std::int64_t channel,
                           float (&h)[kMaxStates]) {
#pragma unroll
  for (int n = 0; n < kMaxStates; ++n)
    h[n] = slot < 0 || n >= a.state_count ? 0.0f : state_at(a, slot, channel)[n * a.channels];
}

template <class T>
__device__ void store_state(const ScanArgs<T>& a, std::int32_t slot, std::int64_t channel,
                            const float (&h)[kMaxStates]) {
#pragma unroll
  for (int n = 0; n < kMaxStates; ++n)
    if (n < a.state_count) state_at(a, slot, channel)[n * a.channels] = h[n];
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

// B and C of one clean token, the same for all channels. States that a model lacks hold zeros, so that loops
// need no bounds.
struct alignas(16) CleanToken {
  float b[kMaxStates], c[kMaxStates];
  std::uint32_t kept;  // bit k: the part's k-th kept state takes this token's input
};

// What all channels share of a replay of one token.
struct alignas(16) OneToken {
  float c[kMaxStates];
  float c_times_b;        // C . B: what the token's own input contributes; without kAny 0 if it is cut
  std::int32_t column;    // -1: fills up a pair
  std::int32_t channels;  // index of the channel mask
  std::uint8_t blocked, self;
};

// The replays of a part that are alive, those that read kept state 0 first, those that read the full state
// last, each state's filled up to an even number.
constexpr int kMostTokens = kRowsPerPart + kKeptPerPart + 1;
struct PartTokens {
  OneToken token[kMostTokens];
  std::int32_t fetched[kMostTokens + kInputRing];  // columns in the order in which inputs are fetched, beyond
                                                   // the last one too
  int end[kKeptPerPart + 1];                       // of each state's tokens
};

// Fills in everything but C, by all threads of the block. `last` is the column of the last clean token.
__device__ inline void stage_replays(const Rows& rows, const ScanPart& part, std::int32_t last,
                                     PartTokens& staged) {
  constexpr int kTurns = kRowsPerPart / kScanThreads;
  __shared__ int count[kKeptPerPart + 1];
  const int thread = static_cast<int>(threadIdx.x);
  if (thread <= kKeptPerPart) count[thread] = 0;
  __syncthreads();
  int state[kTurns], place[kTurns];
  LastToken token[kTurns];
#pragma unroll
  for (int i = 0; i < kTurns; ++i) {
    state[i] = -1;
    const std::int32_t k = thread + i * kScanThreads;
    if (k >= part.count) continue;
    token[i] = rows.replays[part.begin + k];
    if (token[i].column >= rows.column_count) continue;  // not born yet
    const bool cut = rows.layer >= token[i].window_begin && rows.layer < token[i].window_end;
    if (cut && blockIdx.y == 0) atomicAdd(rows.blocked, static_cast<unsigned long long>(token[i].edges));
    state[i] = cut ? token[i].kept : kFullState;
    if (!cut) token[i].self = 0;
    place[i] = atomicAdd(&count[state[i]], 1);
    if (cut) state[i] |= kBlockedBit;
  }
  __syncthreads();
  const auto begin_of = [&](int s) {
    int begin = 0;
    for (int before = 0; before < s; ++before) begin += (count[before] + 1) / 2 * 2;
    return begin;
  };
  if (thread <= kKeptPerPart) {
    staged.end[thread] = begin_of(thread + 1);
    if (count[thread] % 2 != 0) {
      OneToken& filling = staged.token[staged.end[thread] - 1];
      filling.column = -1;
      filling.channels = 0;
      filling.blocked = filling.self = 0;
      staged.fetched[staged.end[thread] - 1] = last;
    }
  }
#pragma unroll
  for (int i = 0; i < kTurns; ++i) {
    if (state[i] < 0) continue;
    const int s = state[i] & ~kBlockedBit, at = begin_of(s) + place[i];
    OneToken& to = staged.token[at];
    to.column = staged.fetched[at] = token[i].column;
    to.channels = token[i].channels;
    to.blocked = (state[i] & kBlockedBit) != 0 ? 1 : 0;
    to.self = static_cast<std::uint8_t>(token[i].self);
  }
  const int alive = begin_of(kKeptPerPart + 1);
  if (thread < kInputRing) staged.fetched[alive + thread] = last;
  __syncthreads();
}

// C and C . B of the replays, some at a time so that their loads overlap.
template <bool kAny, class T>
__device__ void stage_parameters(const ScanArgs<T>& a, PartTokens& staged) {
  constexpr int kTokensAtOnce = kScanThreads / kMaxStates, kTurns = 4;
  const int n = static_cast<int>(threadIdx.x) % kMaxStates, own = static_cast<int>(threadIdx.x) / kMaxStates;
  const int alive = staged.end[kFullState], state = min(n, a.state_count - 1);
  const float present = n < a.state_count ? 1.0f : 0.0f;
  const auto bytes = [](const Matrix<const T>& m) { return static_cast<std::int32_t>(m.stride * sizeof(T)); };
  const std::int32_t b_bytes = bytes(a.b), c_bytes = bytes(a.c);
  for (int first = own; first - own < alive; first += kTurns * kTokensAtOnce) {
    float b[kTurns], c[kTurns];
#pragma unroll
    for (int i = 0; i < kTurns; ++i) {
      // Whatever fills up a pair reads some column, and nobody reads what comes of it.
      const std::int32_t column = max(staged.token[min(first + i * kTokensAtOnce, alive - 1)].column, 0);
      b[i] = load(at_row(a.b.data + state, column, b_bytes));
      c[i] = load(at_row(a.c.data + state, column, c_bytes)) * present;
    }
#pragma unroll
    for (int i = 0; i < kTurns; ++i) {
      float product = c[i] * b[i];
#pragma unroll
      for (int offset = kMaxStates / 2; offset > 0; offset /= 2)
        product += __shfl_xor_sync(kAll, product, offset);
      const int token = first + i * kTokensAtOnce;
      if (token >= alive) continue;
      staged.token[token].c[n] = c[i];
      const bool keeps_own = kAny || staged.token[token].self == 0;
      if (n == 0) staged.token[token].c_times_b = keeps_own ? product : 0.0f;
    }
  }
}

// B, C and the kept states' share of the clean tokens [begin, end), by all threads of the block.
template <class T>
__device__ void stage_clean(const Rows& rows, const ScanArgs<T>& a, const Row& row,
                            const StateSlot (&slot)[kKeptPerPart], std::int32_t begin, std::int32_t end,
                            CleanToken* staged) {
  const int count = end - begin;
  for (int i = static_cast<int>(threadIdx.x); i < count * kMaxStates; i += kScanThreads) {
    const int t = i / kMaxStates, n = i % kMaxStates;
    const std::int64_t column = row.column + begin + t;
    staged[t].b[n] = n < a.state_count ? load(a.b.data + column * a.b.stride + n) : 0.0f;
    staged[t].c[n] = n < a.state_count ? load(a.c.data + column * a.c.stride + n) : 0.0f;
  }
  for (int t = static_cast<int>(threadIdx.x); t < count; t += kScanThreads) {
    std::uint32_t bits = 0;
#pragma unroll
    for (int k = 0; k < kKeptPerPart; ++k)
      if (slot[k].flags >= 0 && begin + t < slot[k].tokens &&
          (rows.flags[slot[k].flags + begin + t] & kSource) == 0)
        bits |= 1u << k;
    staged[t].kept = bits;
  }
}

// A token's inputs to a warp's channels: 32 of x, of z and of dt.
template <class T>
struct alignas(16) WarpInput {
  T numbers[3 * 32];
};

// One channel of it, ready to meet the state: nothing of this waits for what is read there.
struct ChannelToken {
  float dt, input;   // dt x, what enters the state per B
  float skip, gate;  // D x and silu(z)

  __device__ ChannelToken(const ScanThread& thread, float x, float z, float raw_dt)
      : dt(softplus(raw_dt + thread.bias)), input(dt * x), skip(thread.d * x), gate(silu(z)) {}
};

// Inputs are copied to shared memory some tokens before they are needed, by the very warp that will read
// them: each of its first lanes copies 16 bytes of x, z or dt. With kAny inputs may be aligned as they like:
// each lane loads what it needs.
template <bool kAny, class T>
class InputQueue {
 public:
  __device__ InputQueue(WarpInput<T>* ring, const ScanArgs<T>& a, std::int64_t channel)
      : ring_(ring), a_(a), channel_(channel) {
    constexpr int kPerCopy = 16 / sizeof(T), kLanes = 32 / kPerCopy;
    const int lane = static_cast<int>(threadIdx.x) % 32, which = lane / kLanes,
              first = lane % kLanes * kPerCopy;
    const Matrix<const T>& matrix = which == 0 ? a.x : which == 1 ? a.z : a.dt;
    const std::int64_t begin = channel - lane + first;
    from_ = matrix.data + begin;
    bytes_ = static_cast<int>(matrix.stride * static_cast<std::int64_t>(sizeof(T)));
    to_ = lane * kPerCopy;
    copies_ = lane < 3 * kLanes && begin < a.channels;
  }

  __device__ void fetch(std::int32_t column, unsigned index) {
    if constexpr (kAny) {
      T* to = ring_[index % kInputRing].numbers + threadIdx.x % 32;
      if (channel_ < a_.channels) {
        to[0] = a_.x.data[column * a_.x.stride + channel_];
        to[32] = a_.z.data[column * a_.z.stride + channel_];
        to[64] = a_.dt.data[column * a_.dt.stride + channel_];
      }
    } else if (copies_) {
      __pipeline_memcpy_async(ring_[index % kInputRing].numbers + to_, at_row(from_, column, bytes_), 16);
    }
    __pipeline_commit();
  }
  // Waits until the first `count` tokens that were fetched and not read yet have come.
  template <int count>
  __device__ void wait() const {
    __pipeline_wait_prior(kAhead - count);
    __syncwarp();
  }
  __device__ ChannelToken read(const ScanThread& thread, unsigned index) const {
    const T* from = ring_[index % kInputRing].numbers + threadIdx.x % 32;
    return {thread, load(from), load(from + 32), load(from + 64)};
  }

 private:
  WarpInput<T>* ring_;
  const ScanArgs<T>& a_;
  std::int64_t channel_;
  const T* from_;
  int bytes_, to_;
  bool copies_;
};

// Whether inputs can be copied 16 bytes at a time.
template <class T>
bool in_copies(const ScanArgs<T>& a) {
  const auto aligned = [](const Matrix<const T>& m) {
    return m.stride * sizeof(T) % 16 == 0 && reinterpret_cast<std::uintptr_t>(m.data) % 16 == 0;
  };
  return a.channels * sizeof(T) % 16 == 0 && aligned(a.x) && aligned(a.z) && aligned(a.dt);
}

// sum_n C[n] exp(dt A[n]) h[n], what a token reads from the state before it.
__device__ inline float read_state(const ScanThread& thread, float dt, const float (&h)[kMaxStates],
                                   const float (&c)[kMaxStates]) {
  float even = 0, odd = 0;
#pragma unroll
  for (int n = 0; n < kMaxStates; n += 2) {
    even += c[n] * (exp2_fast(dt * thread.a[n]) * h[n]);
    odd += c[n + 1] * (exp2_fast(dt * thread.a[n + 1]) * h[n + 1]);
  }
  return even + odd;
}

// h of one token later, and what the token reads from it.
__device__ inline float advance(const ScanThread& thread, const CleanToken& token, const ChannelToken& own,
                                float (&h)[kMaxStates]) {
  float y = 0;
#pragma unroll
  for (int n = 0; n < kMaxStates; ++n) {
    h[n] = exp2_fast(own.dt * thread.a[n]) * h[n] + token.b[n] * own.input;
    y += token.c[n] * h[n];
  }
  return y;
}

// The same with the kept states, which share the decays.
__device__ inline float advance(const ScanThread& thread, const CleanToken& token, const ChannelToken& own,
                                float (&h)[kMaxStates], float (&kept)[kKeptPerPart][kMaxStates]) {
  float kept_input[kKeptPerPart], y = 0;
#pragma unroll
  for (int k = 0; k < kKeptPerPart; ++k) kept_input[k] = (token.kept >> k & 1u) != 0 ? own.input : 0.0f;
#pragma unroll
  for (int n = 0; n < kMaxStates; ++n) {
    const float decay = exp2_fast(own.dt * thread.a[n]), b = token.b[n];
    h[n] = decay * h[n] + b * own.input;
    y += token.c[n] * h[n];
#pragma unroll
    for (int k = 0; k < kKeptPerPart; ++k) kept[k][n] = decay * kept[k][n] + b * kept_input[k];
  }
  return y;
}

// What a replay reads: in the window the kept state, elsewhere and on channels that keep the edge the full
// one.
template <bool kAny, class T>
__device__ float read_replay(const ScanThread& thread, const ScanArgs<T>& a, const OneToken& token,
                             const ChannelToken& own, bool active, bool full, const float (&h)[kMaxStates],
                             const float (&kept)[kMaxStates]) {
  const bool loses =
      !kAny || token.blocked == 0 || !active || a.lose[token.channels * a.channels + thread.channel] != 0;
  float y;
  if (full) {
    y = read_state(thread, own.dt, h, token.c);
  } else if (!kAny) {
    y = read_state(thread, own.dt, kept, token.c);
  } else {
    float read[kMaxStates];
#pragma unroll
    for (int n = 0; n < kMaxStates; ++n) read[n] = loses ? kept[n] : h[n];
    y = read_state(thread, own.dt, read, token.c);
  }
  return kAny && loses && token.self != 0 ? y : y + token.c_times_b * own.input;
}

// What replays of several tokens start from: the part's states after `tokens` tokens, where there is a slot
// for them.
template <class T>
__device__ void store_slots(const Rows& rows, const ScanArgs<T>& a, const ScanPart& part,
                            const StateSlot (&slot)[kKeptPerPart], std::int32_t tokens, std::int64_t channel,
                            const float (&h)[kMaxStates], const float (&kept)[kKeptPerPart][kMaxStates]) {
  if (part.leads != 0)
    for (std::int32_t s = rows.slot_begin[part.clean_row]; s < rows.slot_begin[part.clean_row + 1]; ++s)
      if (rows.slots[s].flags < 0 && rows.slots[s].tokens == tokens) store_state(a, s, channel, h);
#pragma unroll
  for (int k = 0; k < kKeptPerPart; ++k)
    if (slot[k].flags >= 0 && slot[k].tokens == tokens) store_state(a, part.kept_begin + k, channel, kept[k]);
}

// Block (part, tile of channels). kAny: cuts may spare some channels, and inputs may be aligned as they like.
template <bool kAny, class T>
__global__ void __launch_bounds__(kScanThreads, 4) scan_kernel(Rows rows, ScanArgs<T> a) {
  __shared__ WarpInput<T> ring[kScanThreads / 32][kInputRing];
  __shared__ CleanToken clean[kTokenTile];
  __shared__ PartTokens replays;
  const ScanPart part = rows.parts[blockIdx.x];
  const Row row = rows.rows[part.clean_row];
  const std::int32_t before = row.count - 1;  // clean tokens before the one that is replayed
  __shared__ StateSlot slot[kKeptPerPart];    // of the part's kept states
  if (threadIdx.x < kKeptPerPart)
    slot[threadIdx.x] = static_cast<int>(threadIdx.x) < part.kept_count
                            ? rows.slots[part.kept_begin + threadIdx.x]
                            : StateSlot{0, -1};
  __syncthreads();
  bool stores = false;
  for (int k = 0; k < kKeptPerPart; ++k) stores = stores || (slot[k].flags >= 0 && slot[k].tokens < before);
  stage_replays(rows, part, row.column + before, replays);
  if (part.leads == 0 && replays.end[kFullState] == 0 && !stores) return;
  const bool keeps = stores || replays.end[kKeptPerPart - 1] > 0;

  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.y) * kScanThreads + threadIdx.x;
  const bool active = static_cast<int>(channel) < static_cast<int>(a.channels);
  const ScanThread thread(a, active ? channel : 0);
  float h[kMaxStates] = {}, kept[kKeptPerPart][kMaxStates] = {};

  // Inputs are needed in this order: the clean tokens before the last one, the replays, the last clean token.
  InputQueue<kAny, T> queue(ring[threadIdx.x / 32], a, channel);
  const auto fetch = [&](int i) {
    queue.fetch(i < before ? row.column + i : replays.fetched[i - before], static_cast<unsigned>(i));
  };
#pragma unroll
  for (int i = 0; i < kAhead; ++i) fetch(i);
  stage_parameters<kAny>(a, replays);
  int taken = 0;
  const auto write = [&](std::int32_t column, float y, const ChannelToken& own) {
    put_if(active && column >= 0, a.out, column, channel, (y + own.skip) * own.gate);
  };

  for (std::int32_t begin = 0; begin < row.count; begin += kTokenTile) {
    const std::int32_t end = min(begin + kTokenTile, row.count);
    __syncthreads();
    stage_clean(rows, a, row, slot, begin, end, clean);
    __syncthreads();
    for (std::int32_t t = begin; t < min(end, before); ++t, ++taken) {
      const CleanToken& token = clean[t - begin];
      queue.template wait<1>();
      const ChannelToken own = queue.read(thread, static_cast<unsigned>(taken));
      fetch(taken + kAhead);
      const float y = keeps ? advance(thread, token, own, h, kept) : advance(thread, token, own, h);
      if (part.leads != 0) write(row.column + t, y, own);
      if (rows.suffixes && active) store_slots(rows, a, part, slot, t + 1, channel, h, kept);
    }
  }
  // Two replays at a time, so that one's latencies hide behind the other's arithmetic.
#pragma unroll
  for (int s = 0; s <= kKeptPerPart; ++s) {
    const int end = replays.end[s];
    for (int i = s > 0 ? replays.end[s - 1] : 0; i < end; i += 2, taken += 2) {
      const OneToken &first = replays.token[i], &second = replays.token[i + 1];
      queue.template wait<2>();
      const ChannelToken own = queue.read(thread, static_cast<unsigned>(taken)),
                         second_own = queue.read(thread, static_cast<unsigned>(taken + 1));
      queue.fetch(replays.fetched[i + kAhead], static_cast<unsigned>(taken + kAhead));
      queue.fetch(replays.fetched[i + 1 + kAhead], static_cast<unsigned>(taken + 1 + kAhead));
      const float y =
          read_replay<kAny>(thread, a, first, own, active, s == kFullState, h, kept[s % kKeptPerPart]);
      const float second_y = read_replay<kAny>(thread, a, second, second_own, active, s == kFullState, h,
                                               kept[s % kKeptPerPart]);
      write(first.column, y, own);
      write(second.column, second_y, second_own);
    }
  }
  if (part.leads == 0) return;
  queue.template wait<1>();
  const ChannelToken own = queue.read(thread, static_cast<unsigned>(taken));
  write(row.column + before, advance(thread, clean[before % kTokenTile], own, h), own);
}

// One channel of several-token rows: the full and the kept state side by side; only targets read the second.
template <class T>
__device__ void scan_suffix(const Rows& rows, const ScanArgs<T>& a, const ScanThread& thread, const Row& row,
                            bool two, const float (&full)[kMaxStates], const float (&kept)[kMaxStates]) {
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
    const float x = load(a.x.data + column * a.x.stride + channel);
    const float z = load(a.z.data + column * a.z.stride + channel);
    const float dt = softplus(load(a.dt.data + column * a.dt.stride + channel) + thread.bias);
    const float input = dt * x, kept_input = (flag & kSource) != 0 ? 0.0f : input;
    const T* b = a.b.data + column * a.b.stride;
    const T* c = a.c.data + column * a.c.stride;
    float y = 0, y_kept = 0;
#pragma unroll
    for (int n = 0; n < kMaxStates; ++n) {
      if (n >= a.state_count) break;
      const float decay = exp2_fast(dt * thread.a[n]), bn = load(b + n), cn = load(c + n);
      h[n] = decay * h[n] + bn * input;
      k[n] = decay * k[n] + bn * kept_input;
      y += cn * h[n];
      y_kept += cn * k[n];
    }
    const float read = (flag & kTarget) != 0 ? y_kept : y;
    put(a.out, column, channel, (read + thread.d * x) * silu(z));
  }
}

// Groups of rows of several tokens.
template <class T>
__global__ void scan_suffix_kernel(Rows rows, ScanArgs<T> a) {
  const RowGroup group = rows.groups[blockIdx.x];
  if (rows.group_rows[group.begin] >= rows.count) return;
  const Row first = rows.rows[rows.group_rows[group.begin]];
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.y) * kScanThreads + threadIdx.x;
  if (channel >= a.channels) return;
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

template <class T>
void scan(const Rows& rows, const ScanArgs<T>& a) {
  if (a.state_count > kMaxStates)
    throw std::runtime_error(
        "the CUDA scan holds at most 16 states per channel; this model runs with device: cpu");
  if (rows.part_count == 0) return;
  const unsigned tiles = blocks_for(a.channels, kScanThreads);
  const dim3 grid(static_cast<unsigned>(rows.part_count), tiles);
  const bool any = !rows.every_channel || !in_copies(a);
  launch("scan", any ? scan_kernel<true, T> : scan_kernel<false, T>, {grid, kScanThreads}, rows, rows, a);
  if (rows.group_count > 0 && rows.count > rows.clean_count)
    launch("scan_suffix", scan_suffix_kernel<T>,
           {dim3(static_cast<unsigned>(rows.group_count), tiles), kScanThreads}, rows, rows, a);
}

}  // namespace
}  // namespace factflow::kernels
