// The gated delta rule on CUDA, unrolled over tokens (DeltaArgs): as long as prompts have fewer
// tokens than keys have dimensions, what tokens change is less to read than a state, and less to
// compute with. A block works on one value head of a row, or of a kept state's tokens; its threads
// find what the tokens before count for one token, by warps, and then add up value dimensions, each
// its own, so that no thread reads what another has changed.
#pragma once

#include "model/kernels/cuda_common.cuh"

namespace factflow::kernels {
namespace {

constexpr int kDeltaThreads = 128;
constexpr int kDeltaWarps = kDeltaThreads / 32;

// What a block of one value head has of its token, in shared memory.
template <class T>
struct DeltaBlock {
  const Rows& rows;
  const DeltaArgs<T>& a;
  Row row;
  int head;
  float* query;  // [key_size], of length one over sqrt(key_size), then the key
  float* key;
  float* reads;  // [longest] what u of each token counts in what the token reads, and in what it
  float* finds;  // finds
  float* rate;   // [longest] log2 of each token's decay
  int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;

  static size_t bytes(const Rows& rows, const DeltaArgs<T>& a) {
    return sizeof(float) *
           (2 * static_cast<size_t>(a.key_size) + 3 * static_cast<size_t>(rows.longest));
  }
  __device__ DeltaBlock(const Rows& all, const DeltaArgs<T>& args, const Row& of, int of_head,
                        float* memory)
      : rows(all),
        a(args),
        row(of),
        head(of_head),
        query(memory),
        key(query + args.key_size),
        reads(key + args.key_size),
        finds(reads + all.longest),
        rate(finds + all.longest) {}

  __device__ const T* key_head(const Matrix<const T>& matrix, std::int32_t column) const {
    return at_row(matrix, column, head / (a.heads / a.key_heads) * a.key_size);
  }
  __device__ float log2_decay(std::int32_t column) const {
    const float dt = softplus<T>(load(at_row(a.a, column, head)) + a.dt_bias[head]);
    return a.rate[head] * dt * kLog2E;
  }

  // The token's query and key, of length one: by the first warp and the second.
  __device__ void load_token(std::int32_t column) const {
    if (warp > 1) return;
    const T* from = key_head(warp == 0 ? a.q : a.k, column);
    float* to = warp == 0 ? query : key;
    float square = 0;
    for (int n = lane; n < a.key_size; n += 32) {
      to[n] = load(from + n);
      square += to[n] * to[n];
    }
    square = warp_sum(square) + static_cast<float>(a.norm_floor);
    const float scale = 1.0f / sqrtf(warp == 0 ? square * static_cast<float>(a.key_size) : square);
    for (int n = lane; n < a.key_size; n += 32) to[n] *= scale;
  }

  // By warps, each tokens of its own.
  __device__ void find_products(std::int32_t t) const {
    for (std::int32_t s = warp; s <= t; s += kDeltaWarps) {
      const std::int32_t column = column_of(row, s);
      const T* other = key_head(a.k, column);
      float square = 0, read = 0, find = 0;
      for (int n = lane; n < a.key_size; n += 32) {
        const float k = load(other + n);
        square += k * k;
        read += query[n] * k;
        find += key[n] * k;
      }
      square = warp_sum(square), read = warp_sum(read), find = warp_sum(find);
      if (lane != 0) continue;
      const float scale = 1.0f / sqrtf(square + static_cast<float>(a.norm_floor));
      reads[s] = read * scale;
      finds[s] = find * scale;
      rate[s] = log2_decay(column);
    }
  }

  // Times the decays of the tokens after each, up to token t: by the first warp, 32 at a time.
  __device__ void apply_decays(std::int32_t t) const {
    if (warp != 0) return;
    float after = 0;  // of the tokens after these 32
    for (std::int32_t begin = t / 32 * 32; begin >= 0; begin -= 32) {
      const std::int32_t s = begin + lane;
      float sum = s <= t ? rate[s] : 0.0f, segment = after;
#pragma unroll
      for (int offset = 1; offset < 32; offset *= 2) {
        const float other = __shfl_xor_sync(kAll, sum, offset);
        if ((lane & offset) == 0) segment += other;
        sum += other;
      }
      if (s <= t) {
        const float decay = exp2_fast(segment);
        reads[s] *= decay;
        finds[s] *= decay;
      }
      after += sum;
    }
  }

  // Reads token t into `out`, or not if that is null, and writes what it changes to `change`, or
  // not if that is null; changes_of(s) is u of token s before it; `flag`: what the token is to the
  // state.
  template <class ChangesOf>
  __device__ void mix(std::int32_t t, std::uint8_t flag, const ChangesOf& changes_of, T* out,
                      float* change) const {
    const std::int32_t column = column_of(row, t);
    __syncthreads();
    load_token(column);
    __syncthreads();
    find_products(t);
    __syncthreads();
    apply_decays(t);
    __syncthreads();
    const float beta =
        static_cast<float>(a.largest_beta) * sigmoid(load(at_row(a.b, column, head)));
    const float writes = (flag & kSource) != 0 ? 0.0f : beta,
                erases = (flag & kErase) != 0 ? 0.0f : beta;
    for (int j = thread; j < a.value_size; j += kDeltaThreads) {
      float found = 0, read = 0;
#pragma unroll 4
      for (std::int32_t s = 0; s < t; ++s) {
        const float u = changes_of(s)[j];
        found += finds[s] * u;
        read += reads[s] * u;
      }
      const float v = load(at_row(a.v, column, head * a.value_size + j));
      const float u = writes * v - erases * found;
      if (change != nullptr) change[j] = u;
      if (out != nullptr) store(out + j, read + reads[t] * u);
    }
  }

  __device__ float* full_change(std::int32_t column) const {
    return at_row(a.changes, column, head * a.value_size);
  }
  __device__ float* kept_change(std::int32_t column) const {
    return at_row(a.kept_changes, column, head * a.value_size);
  }
  __device__ float* slot_change(std::int32_t slot, std::int32_t token) const {
    const std::int64_t at = static_cast<std::int64_t>(slot) * rows.longest + token;
    return a.slot_changes + (at * a.heads + head) * a.value_size;
  }
  __device__ T* out(std::int32_t column) const {
    return at_row(a.out, column, head * a.value_size);
  }

  // All tokens of the row from its first on, in the full state.
  __device__ void mix_fully() const {
    for (std::int32_t i = 0; i < row.count; ++i)
      mix(
          row.first_token + i, 0, [&](std::int32_t s) { return full_change(column_of(row, s)); },
          out(row.column + i), full_change(row.column + i));
  }
  // The tokens of a slot of the row, in its kept state.
  __device__ void fill_slot(std::int32_t index) const {
    const StateSlot slot = rows.slots[index];
    for (std::int32_t t = 0; t < slot.tokens; ++t)
      mix(
          t, rows.flags[slot.flags + t], [&](std::int32_t s) { return slot_change(index, s); },
          nullptr, slot_change(index, t));
  }
  // The targets of the row in its kept state.
  __device__ void mix_kept() const {
    const bool apart = row.kept_state >= 0 && rows.slots[row.kept_state].flags >= 0;
    const auto changes_of = [&](std::int32_t s) {
      if (s >= row.first_token) return kept_change(row.column + s - row.first_token);
      return apart ? slot_change(row.kept_state, s) : full_change(row.clean_column + s);
    };
    for (std::int32_t i = 0; i < row.count; ++i) {
      const std::int32_t t = row.first_token + i;
      const std::uint8_t flag = rows.flags[row.flags + t];
      mix(t, flag, changes_of, (flag & kTarget) != 0 ? out(row.column + i) : nullptr,
          i + 1 < row.count ? kept_change(row.column + i) : nullptr);
    }
  }
};

// Clean rows, then kept states: block (row or slot, value head).
template <class T>
__global__ void __launch_bounds__(kDeltaThreads) delta_clean_kernel(Rows rows, DeltaArgs<T> a) {
  const auto index = static_cast<std::int32_t>(blockIdx.x);
  const std::int32_t slot = index - rows.clean_count;
  if (slot >= 0 && rows.slots[slot].flags < 0) return;  // that of the clean row
  const Row row = rows.rows[slot < 0 ? index : clean_row_of(rows, slot)];
  const DeltaBlock<T> block(rows, a, row, static_cast<int>(blockIdx.y), dynamic_shared());
  if (slot < 0)
    block.mix_fully();
  else
    block.fill_slot(slot);
}

// Replayed rows: block (row, value head).
template <class T>
__global__ void __launch_bounds__(kDeltaThreads) delta_kernel(Rows rows, DeltaArgs<T> a) {
  const Row row = rows.rows[rows.clean_count + static_cast<std::int32_t>(blockIdx.x)];
  const auto head = static_cast<int>(blockIdx.y);
  const DeltaBlock<T> block(rows, a, row, head, dynamic_shared());
  const bool cut = in_window(row, rows.layer);
  const bool loses = cut && a.lose[row.channels * a.heads + head] != 0;
  const bool only_kept =
      loses && row.count == 1 && (rows.flags[row.flags + row.first_token] & kTarget) != 0;
  if (!only_kept) block.mix_fully();
  if (loses) block.mix_kept();
  if (cut && head == 0) count_row_edges(rows, row);
}

template <class T>
void delta(const Rows& rows, const DeltaArgs<T>& a) {
  const auto heads = static_cast<unsigned>(a.heads);
  const auto blocks = [&](std::int32_t count) { return dim3(static_cast<unsigned>(count), heads); };
  const size_t bytes = DeltaBlock<T>::bytes(rows, a);
  if (!have_shared(delta_clean_kernel<T>, bytes) || !have_shared(delta_kernel<T>, bytes))
    throw std::runtime_error(
        "prompts of " + std::to_string(rows.longest) +
        " tokens are too long for the delta rule's CUDA kernel; run this model "
        "with device: cpu");
  launch("delta_clean", delta_clean_kernel<T>,
         {blocks(rows.clean_count + rows.slot_count), kDeltaThreads, bytes}, rows, rows, a);
  if (rows.count > rows.clean_count)
    launch("delta", delta_kernel<T>, {blocks(rows.count - rows.clean_count), kDeltaThreads, bytes},
           rows, rows, a);
}

}  // namespace
}  // namespace factflow::kernels
