// Mamba-1's selective scan on CUDA.
//
// Bound by exponentials (one per channel and state) and by memory, in this order. One block runs
// the clean row of a prompt on some channels, carrying beside the full state up to three that leave
// out the sources of a cut; when it comes to the last token it reads these states, still in
// registers, for all replays of that token, and then goes on with the clean one. So states never
// travel through memory, a token's decays are computed once for all of them, and the inputs of the
// next tokens are on their way while one is computed. What all channels of a part share is prepared
// for its blocks by a kernel before. Replays of several tokens start from states in memory, in a
// kernel of their own.
#pragma once

#include <cuda_pipeline_primitives.h>

#include "model/kernels/cuda_common.cuh"

namespace factflow::kernels {
namespace {

constexpr int kScanThreads = 128;  // channels of one block
constexpr int kPrepareThreads = 256;
constexpr int kMaxStates = 16;  // states per channel that fit registers
constexpr int kTokenTile = 16;  // clean tokens whose B and C are staged at a time
// Tokens whose inputs are in shared memory or on their way.
constexpr int kInputRing = 8;
constexpr int kAhead = kInputRing - 2;    // of them on their way, while two are read
constexpr int kFullState = kKeptPerPart;  // index of the full state after the kept ones of a part

struct alignas(8) ChannelConstants {
  float d, bias;
};

// A channel's A, ready for exp2. States that a model lacks have zeros.
template <class T>
__device__ void load_a(const ScanArgs<T>& args, std::int64_t channel, float (&a)[kMaxStates]) {
  const float* from = args.a + channel;
  if (args.state_count == kMaxStates) {
#pragma unroll
    for (int n = 0; n < kMaxStates; ++n, from += args.channels) a[n] = *from * kLog2E;
  } else {
#pragma unroll
    for (int n = 0; n < kMaxStates; ++n, from += args.channels)
      a[n] = n < args.state_count ? *from * kLog2E : 0.0f;
  }
}

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

// B and C of one clean token, the same for all channels. States that a model lacks hold zeros, so
// that loops need no bounds.
struct alignas(16) CleanToken {
  float b[kMaxStates], c[kMaxStates];
  std::uint32_t kept;  // two bits for each kept state of the part: what the token does to it
};
enum KeptAction : std::uint32_t {
  kFollows,  // the sources are still to come, or nobody reads the state: it is the full one
  kParts,    // the first source: the full state before it, decayed
  kSkips,    // another source: decays
  kTakes     // anything else: decays and takes the token's input
};

// What all channels share of a replay of one token.
struct alignas(16) OneToken {
  float c[kMaxStates];
  // C . B: what the token's own input contributes; without kAny 0 if it is cut.
  float c_times_b;
  std::int32_t column;    // of its inputs
  std::int32_t channels;  // index of the channel mask
  std::uint8_t blocked, self;
};

struct alignas(16) PartHeader {
  // The clean row's first; its tokens before the one that is replayed.
  std::int32_t column, before;
  // Of the replays that read each kept state, then the full one.
  std::int32_t end[kKeptPerPart + 1];
  // Whether there is anything to do, PromptPart::leads, whether anybody reads a kept state.
  std::uint8_t runs, leads, keeps;
};

// What prepare_kernel leaves for the blocks of all parts.
static_assert(kBytesPerPart == sizeof(PartHeader) && kBytesPerReplay == sizeof(OneToken) &&
              kBytesPerCleanToken == sizeof(CleanToken));
struct Prepared {
  PartHeader* header;
  OneToken* replays;
  CleanToken* clean;

  // Of the block's part.
  __device__ Prepared(const Rows& rows, void* scratch, const PromptPart& part) {
    auto* headers = static_cast<PartHeader*>(scratch);
    auto* tokens = reinterpret_cast<OneToken*>(headers + rows.part_count);
    header = headers + blockIdx.x;
    replays = tokens + part.begin;
    clean = reinterpret_cast<CleanToken*>(tokens + rows.replay_count) + part.clean_begin;
  }
};

// The replays of a part that are alive, those that read kept state 0 first, those that read the
// full state last, each in order of birth, by all threads of the block. C and C . B stay open.
struct AliveReplays {
  OneToken token[kRowsPerPart];
  int end[kKeptPerPart + 1];
};
__device__ inline void find_replays(const Rows& rows, const PromptPart& part, AliveReplays& alive) {
  static_assert(kRowsPerPart <= kPrepareThreads);
  constexpr int kStates = kKeptPerPart + 1, kWarps = kPrepareThreads / 32;
  __shared__ int count[kStates][kWarps], edges;  // replays of a warp's threads that read a state
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32;
  if (thread == 0) edges = 0;
  LastToken token{};
  bool born = false, cut = false;
  if (thread < part.count) {
    token = rows.replays[part.begin + thread];
    born = token.column < rows.column_count;
    cut = born && in_window(token, rows.layer);
  }
  const int state = cut ? token.kept : kFullState;
  int place = 0;  // among the warp's replays of the same state
#pragma unroll
  for (int s = 0; s < kStates; ++s) {
    const unsigned same = __ballot_sync(kAll, born && state == s);
    if (state == s) place = __popc(same & ((1u << thread % 32) - 1));
    if (thread % 32 == 0) count[s][warp] = __popc(same);
  }
  __syncthreads();
  if (cut) atomicAdd(&edges, token.edges);
  // Replays before those of a state that the threads of a warp have.
  const auto begin_of = [&](int s, int w) {
    int begin = 0;
    for (int before = 0; before < s * kWarps + w; ++before)
      begin += count[before / kWarps][before % kWarps];
    return begin;
  };
  if (thread < kStates) alive.end[thread] = begin_of(thread + 1, 0);
  if (born) {
    OneToken& to = alive.token[begin_of(state, warp) + place];
    to.column = token.column;
    to.channels = token.channels;
    to.blocked = cut ? 1 : 0;
    to.self = cut ? static_cast<std::uint8_t>(token.self) : 0;
  }
  __syncthreads();
  if (thread == 0 && edges > 0) atomicAdd(rows.blocked, static_cast<unsigned long long>(edges));
}

__device__ inline std::int32_t first_source(const Rows& rows, const StateSlot& slot) {
  std::int32_t t = 0;
  while (t < slot.tokens && (rows.flags[slot.flags + t] & kSource) == 0) ++t;
  return t;
}

// What token t does to a kept state.
__device__ inline std::uint32_t kept_action(const Rows& rows, const StateSlot& slot,
                                            std::int32_t first, std::int32_t t) {
  if (slot.flags < 0 || t >= slot.tokens || t < first) return kFollows;
  if (t == first) return kParts;
  return (rows.flags[slot.flags + t] & kSource) != 0 ? kSkips : kTakes;
}

// Block: a part. Does for all its tiles of channels what they have in common, so that they wait for
// memory once.
template <bool kAny, class T>
__global__ void __launch_bounds__(kPrepareThreads) prepare_kernel(Rows rows, ScanArgs<T> a) {
  __shared__ AliveReplays alive;
  __shared__ std::int32_t first[kKeptPerPart];  // source of each kept state
  constexpr int kTokensAtOnce = kPrepareThreads / kMaxStates;
  const PromptPart part = rows.parts[blockIdx.x];
  const Row row = rows.rows[part.clean_row];
  const std::int32_t before = row.count - 1;
  const Prepared to(rows, a.scratch, part);
  StateSlot slot[kKeptPerPart];
  bool stores = false;
#pragma unroll
  for (int k = 0; k < kKeptPerPart; ++k) {
    slot[k] = k < part.kept_count ? rows.slots[part.kept_begin + k] : StateSlot{0, -1};
    stores = stores || (slot[k].flags >= 0 && slot[k].tokens < before);
    if (static_cast<int>(threadIdx.x) == k) first[k] = first_source(rows, slot[k]);
  }
  find_replays(rows, part, alive);
  const int count = alive.end[kFullState];
  const bool runs = part.leads != 0 || count > 0 || stores;
  if (threadIdx.x == 0) {
    PartHeader header{};
    header.column = row.column;
    header.before = before;
    for (int s = 0; s <= kKeptPerPart; ++s) header.end[s] = alive.end[s];
    header.runs = runs ? 1 : 0;
    header.leads = part.leads != 0 ? 1 : 0;
    header.keeps = stores || alive.end[kFullState - 1] > 0 ? 1 : 0;
    *to.header = header;
  }
  if (!runs) return;

  const int n = static_cast<int>(threadIdx.x) % kMaxStates,
            own = static_cast<int>(threadIdx.x) / kMaxStates;
  const bool present = n < a.state_count;
  const auto parameter = [&](const Matrix<const T>& of, std::int64_t column) {
    return present ? load(of.data + column * of.stride + n) : 0.0f;
  };
#pragma unroll 4
  for (int begin = 0; begin < count; begin += kTokensAtOnce) {
    const int i = min(begin + own, count - 1);
    const OneToken& token = alive.token[i];
    const float c = parameter(a.c, token.column);
    float product = c * parameter(a.b, token.column);
#pragma unroll
    for (int offset = kMaxStates / 2; offset > 0; offset /= 2)
      product += __shfl_xor_sync(kAll, product, offset);
    if (begin + own >= count) continue;
    to.replays[i].c[n] = c;
    if (n != 0) continue;
    to.replays[i].c_times_b = kAny || token.self == 0 ? product : 0.0f;
    to.replays[i].column = token.column;
    to.replays[i].channels = token.channels;
    to.replays[i].blocked = token.blocked;
    to.replays[i].self = token.self;
  }
#pragma unroll 2
  for (int t = own; t < row.count; t += kTokensAtOnce) {
    to.clean[t].b[n] = parameter(a.b, row.column + t);
    to.clean[t].c[n] = parameter(a.c, row.column + t);
    if (n != 0) continue;
    std::uint32_t actions = 0;
#pragma unroll
    for (int k = 0; k < kKeptPerPart; ++k)
      actions |= kept_action(rows, slot[k], first[k], t) << 2 * k;
    to.clean[t].kept = actions;
  }
}

// Copies items into shared memory behind the block's back, 16 bytes a thread at a time.
template <class Item>
__device__ void copy_ahead(Item* to, const Item* from, int count) {
  constexpr int kPieces = sizeof(Item) / 16;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < count * kPieces; i += kScanThreads)
    __pipeline_memcpy_async(reinterpret_cast<float4*>(to) + i,
                            reinterpret_cast<const float4*>(from) + i, 16);
  __pipeline_commit();
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

  template <class T>
  __device__ ChannelToken(const ChannelConstants& channel, const T* x, const T* z, const T* raw_dt)
      : dt(softplus<T>(load(raw_dt) + channel.bias)),
        input(dt * load(x)),
        skip(channel.d * load(x)),
        gate(silu(load(z))) {}
};

// Inputs are copied to shared memory some tokens before they are needed, by the very warp that will
// read them: each of its first lanes copies 16 bytes of x, z or dt. With kAny inputs may be aligned
// as they like: each lane loads what it needs.
template <bool kAny, class T>
class InputQueue {
  static constexpr int kTokenLanes = sizeof(WarpInput<T>) / 16;  // lanes that copy a token
  static constexpr bool kTwoAtOnce = 2 * kTokenLanes <= 32;

 public:
  __device__ InputQueue(WarpInput<T>* ring, const ScanArgs<T>& a, std::int64_t channel)
      : ring_(ring), a_(a), channel_(channel) {
    constexpr int kPerCopy = 16 / sizeof(T), kLanes = 32 / kPerCopy;
    const int warp_lane = static_cast<int>(threadIdx.x) % 32, lane = warp_lane % kTokenLanes,
              which = lane / kLanes, first = lane % kLanes * kPerCopy;
    const Matrix<const T>& matrix = which == 0 ? a.x : which == 1 ? a.z : a.dt;
    const std::int64_t begin = channel - warp_lane + first;
    from_ = matrix.data + begin;
    bytes_ = static_cast<int>(matrix.stride * static_cast<std::int64_t>(sizeof(T)));
    to_ = lane * kPerCopy;
    copies_ = begin < a.channels && warp_lane < kTokenLanes;
    copies_second_ = kTwoAtOnce && begin < a.channels && warp_lane / kTokenLanes == 1;
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
      __pipeline_memcpy_async(ring_[index % kInputRing].numbers + to_,
                              at_row(from_, column, bytes_), 16);
    }
    __pipeline_commit();
  }
  // Two tokens in a row, at once where a warp has the lanes for it.
  __device__ void fetch_two(std::int32_t column, std::int32_t second, unsigned index) {
    if constexpr (kAny || !kTwoAtOnce) {
      fetch(column, index);
      fetch(second, index + 1);
    } else {
      if (copies_ || copies_second_)
        __pipeline_memcpy_async(ring_[(copies_ ? index : index + 1) % kInputRing].numbers + to_,
                                at_row(from_, copies_ ? column : second, bytes_), 16);
      __pipeline_commit();
      __pipeline_commit();
    }
  }
  // Waits until the first `count` tokens that were fetched and not read yet have come.
  template <int count>
  __device__ void wait() const {
    __pipeline_wait_prior(kAhead - count);
    __syncwarp();
  }
  __device__ ChannelToken read(const ChannelConstants& channel, unsigned index) const {
    const T* from = ring_[index % kInputRing].numbers + threadIdx.x % 32;
    return {channel, from, from + 32, from + 64};
  }

 private:
  WarpInput<T>* ring_;
  const ScanArgs<T>& a_;
  std::int64_t channel_;
  const T* from_;
  int bytes_, to_;
  // Whether this lane takes part in copying a token, or the second one of two.
  bool copies_, copies_second_;
};

// Whether inputs can be copied 16 bytes at a time.
template <class T>
bool in_copies(const ScanArgs<T>& a) {
  const auto copied = [](const Matrix<const T>& m) { return in_pieces(m.data, m.stride, 16); };
  return a.channels * sizeof(T) % 16 == 0 && copied(a.x) && copied(a.z) && copied(a.dt);
}

// sum_n C[n] exp(dt A[n]) h[n], what a token reads from the state before it.
__device__ inline float read_state(const float (&rate)[kMaxStates], float dt,
                                   const float (&h)[kMaxStates], const float (&c)[kMaxStates]) {
  float even = 0, odd = 0;
#pragma unroll
  for (int n = 0; n < kMaxStates; n += 2) {
    even += c[n] * (exp2_fast(dt * rate[n]) * h[n]);
    odd += c[n + 1] * (exp2_fast(dt * rate[n + 1]) * h[n + 1]);
  }
  return even + odd;
}

// The channels' A beside the states of clean tokens: in registers there would be no room for a
// token's decays to be computed side by side.
struct SharedChannels {  // each thread reads what it wrote
  float4 fours[kMaxStates / 4][kScanThreads];
  ChannelConstants constants[kScanThreads];

  __device__ void write(const float (&a)[kMaxStates]) {
#pragma unroll
    for (int i = 0; i < kMaxStates / 4; ++i)
      fours[i][threadIdx.x] = make_float4(a[4 * i], a[4 * i + 1], a[4 * i + 2], a[4 * i + 3]);
  }
  __device__ void read(float (&a)[kMaxStates]) const {
#pragma unroll
    for (int i = 0; i < kMaxStates / 4; ++i) {
      const float4 four = fours[i][threadIdx.x];
      a[4 * i] = four.x;
      a[4 * i + 1] = four.y;
      a[4 * i + 2] = four.z;
      a[4 * i + 3] = four.w;
    }
  }
};

// The states of one token later, and what the token reads from the full one.
template <bool kKeeps>
__device__ float advance(const SharedChannels& channels, const CleanToken& token,
                         const ChannelToken& own, float (&h)[kMaxStates],
                         float (&kept)[kKeptPerPart][kMaxStates]) {
  float decay[kMaxStates], input[kMaxStates], even = 0, odd = 0;
  channels.read(decay);
#pragma unroll
  for (int n = 0; n < kMaxStates; ++n) {
    decay[n] = exp2_fast(own.dt * decay[n]);
    input[n] = token.b[n] * own.input;
  }
  if constexpr (kKeeps) {
#pragma unroll
    for (int k = 0; k < kKeptPerPart; ++k) {  // all threads take the same branch
      const std::uint32_t action = token.kept >> 2 * k & 3u;
      if (action == kTakes) {
#pragma unroll
        for (int n = 0; n < kMaxStates; ++n) kept[k][n] = decay[n] * kept[k][n] + input[n];
      } else if (action == kSkips) {
#pragma unroll
        for (int n = 0; n < kMaxStates; ++n) kept[k][n] *= decay[n];
      } else if (action == kParts) {
#pragma unroll
        for (int n = 0; n < kMaxStates; ++n) kept[k][n] = decay[n] * h[n];
      }
    }
  }
#pragma unroll
  for (int n = 0; n < kMaxStates; ++n) {
    h[n] = decay[n] * h[n] + input[n];
    (n % 2 == 0 ? even : odd) += token.c[n] * h[n];
  }
  return even + odd;
}

// What a replay reads: in the window the kept state, elsewhere and on channels that keep the edge
// the full one.
template <bool kAny, class T>
__device__ float read_replay(const float (&rate)[kMaxStates], const ScanArgs<T>& a,
                             const OneToken& token, const ChannelToken& own, std::int64_t channel,
                             bool active, bool full, const float (&h)[kMaxStates],
                             const float (&kept)[kMaxStates]) {
  const bool loses =
      !kAny || token.blocked == 0 || !active || a.lose[token.channels * a.channels + channel] != 0;
  float y;
  if (full) {
    y = read_state(rate, own.dt, h, token.c);
  } else if (!kAny) {
    y = read_state(rate, own.dt, kept, token.c);
  } else {
    float read[kMaxStates];
#pragma unroll
    for (int n = 0; n < kMaxStates; ++n) read[n] = loses ? kept[n] : h[n];
    y = read_state(rate, own.dt, read, token.c);
  }
  return kAny && loses && token.self != 0 ? y : y + token.c_times_b * own.input;
}

// What replays of several tokens start from: the part's states after `tokens` tokens, where there
// is a slot for them.
template <class T>
__device__ void store_slots(const Rows& rows, const ScanArgs<T>& a, const PromptPart& part,
                            std::int32_t tokens, std::int64_t channel, const float (&h)[kMaxStates],
                            const float (&kept)[kKeptPerPart][kMaxStates]) {
  if (part.leads != 0)
    for (std::int32_t s = rows.slot_begin[part.clean_row]; s < rows.slot_begin[part.clean_row + 1];
         ++s)
      if (rows.slots[s].flags < 0 && rows.slots[s].tokens == tokens) store_state(a, s, channel, h);
#pragma unroll
  for (int k = 0; k < kKeptPerPart; ++k)
    if (k < part.kept_count && rows.slots[part.kept_begin + k].flags >= 0 &&
        rows.slots[part.kept_begin + k].tokens == tokens)
      store_state(a, part.kept_begin + k, channel, kept[k]);
}

template <class T>
struct ScanShared {
  PartHeader header;
  WarpInput<T> ring[kScanThreads / 32][kInputRing];
  CleanToken clean[kTokenTile];
  OneToken replays[kRowsPerPart + kInputRing];
  SharedChannels channels;
};

// Block (part, tile of channels). kAny: cuts may spare some channels, and inputs may be aligned as
// they like. kStores: there are replays of several tokens, which start from states in memory.
template <bool kAny, bool kStores, class T>
__global__ void __launch_bounds__(kScanThreads, 4) scan_kernel(Rows rows, ScanArgs<T> a) {
  __shared__ ScanShared<T> shared;
  PartHeader& header = shared.header;
  OneToken* const replays = shared.replays;
  CleanToken* const clean = shared.clean;
  SharedChannels& channels = shared.channels;
  const PromptPart& part = rows.parts[blockIdx.x];
  const Prepared prepared(rows, a.scratch, part);
  const PartHeader found = *prepared.header;
  if (found.runs == 0) return;
  if (threadIdx.x == 0) header = found;
  const int alive = found.end[kFullState];
  copy_ahead(replays, prepared.replays, alive);
  copy_ahead(clean, prepared.clean, min(found.before + 1, kTokenTile));
  if (static_cast<int>(threadIdx.x) < kInputRing)
    replays[alive + threadIdx.x].column = found.column + found.before;
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.y) * kScanThreads + threadIdx.x;
  const bool active = static_cast<int>(channel) < static_cast<int>(a.channels);
  // Inputs are needed in this order: the clean tokens before the last one, the replays, the last
  // clean token.
  InputQueue<kAny, T> queue(shared.ring[threadIdx.x / 32], a, channel);
  const std::int32_t first_column = found.column, before = found.before;
  const auto fetch = [&](int i) {
    queue.fetch(i < before ? first_column + i : replays[i - before].column,
                static_cast<unsigned>(i));
  };
  // The first of them, without waiting for the replays' columns.
  const bool known = before >= kAhead;
  if (known)
#pragma unroll
    for (int i = 0; i < kAhead; ++i) queue.fetch(first_column + i, static_cast<unsigned>(i));
  float rate[kMaxStates];
  load_a(a, active ? channel : 0, rate);
  channels.write(rate);
  channels.constants[threadIdx.x] = {a.d[active ? channel : 0], a.dt_bias[active ? channel : 0]};
  if (known)
    __pipeline_wait_prior(kAhead);
  else
    __pipeline_wait_prior(0);
  __syncthreads();
  if (!known)
#pragma unroll 1
    for (int i = 0; i < kAhead; ++i) fetch(i);
  int taken = 0;
  const auto take = [&](int i) {
    return queue.read(channels.constants[threadIdx.x], static_cast<unsigned>(i));
  };
  const auto write = [&](std::int32_t column, float y, const ChannelToken& own) {
    put_if(active, a.out, column, channel, (y + own.skip) * own.gate);
  };

  float h[kMaxStates] = {}, kept[kKeptPerPart][kMaxStates] = {};
  for (std::int32_t begin = 0; begin <= before; begin += kTokenTile) {
    const std::int32_t end = min(begin + kTokenTile, before + 1);
    if (begin > 0) {
      __syncthreads();
      copy_ahead(clean, prepared.clean + begin, end - begin);
      __pipeline_wait_prior(0);
      __syncthreads();
    }
    for (std::int32_t t = begin; t < min(end, before); ++t, ++taken) {
      const CleanToken& token = clean[t - begin];
      queue.template wait<1>();
      const ChannelToken own = take(taken);
      fetch(taken + kAhead);
      const float y = header.keeps != 0 ? advance<true>(channels, token, own, h, kept)
                                        : advance<false>(channels, token, own, h, kept);
      if (header.leads != 0) write(first_column + t, y, own);
      if (kStores && active) store_slots(rows, a, part, t + 1, channel, h, kept);
    }
  }
  // Two replays at a time, so that one's latencies hide behind the other's arithmetic.
  channels.read(rate);
#pragma unroll
  for (int s = 0; s <= kKeptPerPart; ++s) {
    const auto read = [&](const OneToken& token, const ChannelToken& own) {
      return read_replay<kAny>(rate, a, token, own, channel, active, s == kFullState, h,
                               kept[s % kKeptPerPart]);
    };
    const int end = header.end[s];
    int i = s > 0 ? header.end[s - 1] : 0;
    for (; i + 1 < end; i += 2, taken += 2) {
      const OneToken &first = replays[i], &second = replays[i + 1];
      queue.template wait<2>();
      const ChannelToken own = take(taken), second_own = take(taken + 1);
      queue.fetch_two(replays[i + kAhead].column, replays[i + 1 + kAhead].column,
                      static_cast<unsigned>(taken + kAhead));
      const float y = read(first, own), second_y = read(second, second_own);
      write(first.column, y, own);
      write(second.column, second_y, second_own);
    }
    if (i < end) {
      queue.template wait<1>();
      const ChannelToken own = take(taken);
      queue.fetch(replays[i + kAhead].column, static_cast<unsigned>(taken + kAhead));
      write(replays[i].column, read(replays[i], own), own);
      ++taken;
    }
  }
  if (header.leads == 0) return;
  queue.template wait<1>();
  const ChannelToken own = take(taken);
  write(first_column + before, advance<false>(channels, clean[before % kTokenTile], own, h, kept),
        own);
}

// What a token of a several-token row brings to one channel, but for what all channels share.
struct SuffixToken {
  float x, z, dt;  // dt: before its bias and softplus
};
template <class T>
__device__ SuffixToken suffix_token(const ScanArgs<T>& a, std::int64_t column,
                                    std::int64_t channel) {
  return {load(a.x.data + column * a.x.stride + channel),
          load(a.z.data + column * a.z.stride + channel),
          load(a.dt.data + column * a.dt.stride + channel)};
}

// B or C of a token; states that a model lacks have zeros. kFours: four at a time.
template <bool kFours, class T>
__device__ void load_b_or_c(const Matrix<const T>& from, std::int64_t column, int states,
                            float (&to)[kMaxStates]) {
  const T* row = from.data + column * from.stride;
  if constexpr (kFours) {
#pragma unroll
    for (int n = 0; n < kMaxStates; n += 4) {
      const float4 four = load4(row + n);
      to[n] = four.x, to[n + 1] = four.y, to[n + 2] = four.z, to[n + 3] = four.w;
    }
  } else {
#pragma unroll
    for (int n = 0; n < kMaxStates; ++n) to[n] = n < states ? load(row + n) : 0.0f;
  }
}

// One channel of several-token rows. kTwo: the row's window is on and the channel loses the edges,
// so the kept state goes beside the full one, and targets read it. The inputs of the next token, or
// those of the first token of the next row (`next_column`), are on their way while one is computed.
template <bool kTwo, bool kFours, class T>
__device__ void scan_suffix(const Rows& rows, const ScanArgs<T>& a, std::int64_t channel,
                            const ChannelConstants& constants, const float (&rate)[kMaxStates],
                            const Row& row, const float (&full)[kMaxStates],
                            std::int64_t next_column, SuffixToken& token) {
  float h[kMaxStates], kept[kTwo ? kMaxStates : 1];
#pragma unroll
  for (int n = 0; n < kMaxStates; ++n) h[n] = full[n];
  if constexpr (kTwo) load_state(a, row.kept_state, channel, kept);
  for (std::int32_t s = 0; s < row.count; ++s) {
    const std::int64_t column = row.column + s;
    const SuffixToken own = token;
    token = suffix_token(a, s + 1 < row.count ? column + 1 : next_column, channel);
    float b[kMaxStates], c[kMaxStates];
    load_b_or_c<kFours>(a.b, column, a.state_count, b);
    load_b_or_c<kFours>(a.c, column, a.state_count, c);
    const float dt = softplus<T>(own.dt + constants.bias), input = dt * own.x;
    const std::uint8_t flag = kTwo ? rows.flags[row.flags + row.first_token + s] : std::uint8_t{0};
    const float kept_input = (flag & kSource) != 0 ? 0.0f : input;
    float y = 0, y_kept = 0;
#pragma unroll
    for (int n = 0; n < kMaxStates; ++n) {
      const float decay = exp2_fast(dt * rate[n]);
      h[n] = decay * h[n] + b[n] * input;
      y += c[n] * h[n];
      if constexpr (kTwo) {
        kept[n] = decay * kept[n] + b[n] * kept_input;
        y_kept += c[n] * kept[n];
      }
    }
    const float read = (flag & kTarget) != 0 ? y_kept : y;
    put(a.out, column, channel, (read + constants.d * own.x) * silu(own.z));
  }
}

// Groups of rows of several tokens: block (group, tile of channels).
template <bool kFours, class T>
__global__ void scan_suffix_kernel(Rows rows, ScanArgs<T> a) {
  const RowGroup group = rows.groups[blockIdx.x];
  if (rows.group_rows[group.begin] >= rows.count) return;
  Row row = rows.rows[rows.group_rows[group.begin]];
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.y) * kScanThreads + threadIdx.x;
  if (channel >= a.channels) return;
  const ChannelConstants constants{a.d[channel], a.dt_bias[channel]};
  float rate[kMaxStates], full[kMaxStates];
  load_a(a, channel, rate);
  load_state(a, row.full_state, channel, full);
  const bool loses = a.lose == nullptr || a.lose[row.channels * a.channels + channel] != 0;
  SuffixToken token = suffix_token(a, row.column, channel);
  // The rows that are born come first.
  for (std::int32_t i = group.begin, end = group.begin + group.count; i < end; ++i) {
    const bool more = i + 1 < end && rows.group_rows[i + 1] < rows.count;
    const Row next = more ? rows.rows[rows.group_rows[i + 1]] : row;
    const bool cut = in_window(row, rows.layer);
    if (cut && channel == 0) atomicAdd(rows.blocked, edges_not_seen(rows, row));
    if (cut && loses)
      scan_suffix<true, kFours>(rows, a, channel, constants, rate, row, full, next.column, token);
    else
      scan_suffix<false, kFours>(rows, a, channel, constants, rate, row, full, next.column, token);
    if (!more) return;
    row = next;
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
  launch("prepare_scan", any ? prepare_kernel<true, T> : prepare_kernel<false, T>,
         {grid.x, kPrepareThreads}, rows, rows, a);
  const auto kernel =
      any ? (rows.suffixes ? scan_kernel<true, true, T> : scan_kernel<true, false, T>)
          : (rows.suffixes ? scan_kernel<false, true, T> : scan_kernel<false, false, T>);
  launch("scan", kernel, {grid, kScanThreads}, rows, rows, a);
  if (rows.group_count == 0 || rows.count <= rows.clean_count) return;
  const bool fours = a.state_count == kMaxStates && in_fours(a.b.data, a.b.stride) &&
                     in_fours(a.c.data, a.c.stride);
  launch("scan_suffix", fours ? scan_suffix_kernel<true, T> : scan_suffix_kernel<false, T>,
         {dim3(static_cast<unsigned>(rows.group_count), tiles), kScanThreads}, rows, rows, a);
}

}  // namespace
}  // namespace factflow::kernels
