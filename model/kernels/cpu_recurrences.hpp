// Recurrences other than Mamba's on a CPU: the delta rules, diagonal linear recurrences, and
// convolutions whose taps are edges. A part of cpu_kernels.cpp, compiled once per instruction set.
#pragma once

#include "model/kernels/cpu_common.hpp"

namespace factflow::kernels::FACTFLOW_ISA {
namespace {

// What a token does to a state.
template <class T>
struct TokenShares {
  T writes = T(1), erases = T(1);
};
template <class T>
TokenShares<T> kept_shares(const Rows& rows, std::int32_t flags, std::int32_t token) {
  const std::uint8_t flag = rows.flags[flags + token];
  return {T((flag & kSource) != 0 ? 0 : 1), T((flag & kErase) != 0 ? 0 : 1)};
}

// One value head of the delta rule, with scratch for one token at a time.
template <class T>
struct DeltaHead {
  const Rows& rows;
  const DeltaArgs<T>& a;
  int head;
  T* query;  // [key_size] of the token, then its key
  T* key;
  T* reads;  // [longest] what u of each token counts in what the token reads, and in what it finds
  T* finds;
  T* found;  // [value_size]

  static std::int64_t scratch(const Rows& rows, const DeltaArgs<T>& a) {
    return 2 * std::int64_t{a.key_size} + 2 * std::int64_t{rows.longest} + a.value_size;
  }
  DeltaHead(const Rows& all, const DeltaArgs<T>& args, int of, T* memory)
      : rows(all),
        a(args),
        head(of),
        query(memory),
        key(query + a.key_size),
        reads(key + a.key_size),
        finds(reads + rows.longest),
        found(finds + rows.longest) {}

  std::int64_t key_channel() const {
    return static_cast<std::int64_t>(head / (a.heads / a.key_heads)) * a.key_size;
  }
  std::int64_t value_channel() const { return static_cast<std::int64_t>(head) * a.value_size; }
  // Of a vector, one over its length.
  T inverse_length(const T* x) const {
    return T(1) / square_root(dot(x, x, a.key_size) + static_cast<T>(a.norm_floor));
  }
  T log_decay(std::int32_t column) const {
    return a.rate[head] * softplus(a.a.data[column * a.a.stride + head] + a.dt_bias[head]);
  }

  // What the tokens before token t of a row count for it, and what it counts itself.
  void weigh(const Row& row, std::int32_t t) {
    const std::int32_t column = column_of(row, t);
    const T* q = a.q.data + column * a.q.stride + key_channel();
    const T* k = a.k.data + column * a.k.stride + key_channel();
    const T q_scale = inverse_length(q) / square_root(static_cast<T>(a.key_size)),
            k_scale = inverse_length(k);
    for (int n = 0; n < a.key_size; ++n) {
      query[n] = q[n] * q_scale;
      key[n] = k[n] * k_scale;
    }
    reads[t] = dot(query, key, a.key_size);
    T segment = log_decay(column);
    for (std::int32_t s = t - 1; s >= 0; --s) {
      const std::int32_t seen = column_of(row, s);
      const T* other = a.k.data + seen * a.k.stride + key_channel();
      const T scale = inverse_length(other) * vector_exp(segment);
      reads[s] = dot(query, other, a.key_size) * scale;
      finds[s] = dot(key, other, a.key_size) * scale;
      segment += log_decay(seen);
    }
  }

  // Reads the token into `out`, or not if that is null, and says what it changes; changes_of(s) is
  // u of token s before it.
  template <class ChangesOf>
  void mix(const Row& row, std::int32_t t, TokenShares<T> shares, ChangesOf changes_of, T* out,
           T* change) {
    weigh(row, t);
    const std::int32_t column = column_of(row, t);
    const T* v = a.v.data + column * a.v.stride + value_channel();
    const T beta = static_cast<T>(a.largest_beta) * sigmoid(a.b.data[column * a.b.stride + head]);
    for (int j = 0; j < a.value_size; ++j) found[j] = T(0);
    for (int j = 0; j < a.value_size && out != nullptr; ++j) out[j] = T(0);
    for (std::int32_t s = 0; s < t; ++s) {
      const T* u = changes_of(s);
      const T finding = finds[s], reading = reads[s];
#pragma omp simd
      for (int j = 0; j < a.value_size; ++j) found[j] += finding * u[j];
      if (out == nullptr) continue;
#pragma omp simd
      for (int j = 0; j < a.value_size; ++j) out[j] += reading * u[j];
    }
    for (int j = 0; j < a.value_size; ++j)
      change[j] = beta * (shares.writes * v[j] - shares.erases * found[j]);
    for (int j = 0; j < a.value_size && out != nullptr; ++j) out[j] += reads[t] * change[j];
  }

  T* full_change(std::int32_t column) const {
    return a.changes.data + column * a.changes.stride + value_channel();
  }
  T* kept_change(std::int32_t column) const {
    return a.kept_changes.data + column * a.kept_changes.stride + value_channel();
  }
  T* slot_change(std::int32_t slot, std::int32_t token) const {
    const std::int64_t at = static_cast<std::int64_t>(slot) * rows.longest + token;
    return a.slot_changes + at * a.heads * a.value_size + value_channel();
  }
  T* out(std::int32_t column) const {
    return a.out.data + column * a.out.stride + value_channel();
  }

  // All tokens of a row from its first on, in the full state.
  void mix_fully(const Row& row) {
    for (std::int32_t i = 0; i < row.count; ++i)
      mix(
          row, row.first_token + i, {},
          [&](std::int32_t s) { return full_change(column_of(row, s)); }, out(row.column + i),
          full_change(row.column + i));
  }
  // The tokens of a slot, in its kept state.
  void fill_slot(const Row& clean, std::int32_t index) {
    const StateSlot& slot = rows.slots[index];
    for (std::int32_t t = 0; t < slot.tokens; ++t)
      mix(
          clean, t, kept_shares<T>(rows, slot.flags, t),
          [&](std::int32_t s) { return slot_change(index, s); }, nullptr, slot_change(index, t));
  }
  // The targets of a row in its kept state.
  void mix_kept(const Row& row) {
    const bool apart = row.kept_state >= 0 && rows.slots[row.kept_state].flags >= 0;
    const auto changes_of = [&](std::int32_t s) {
      if (s >= row.first_token) return kept_change(row.column + s - row.first_token);
      return apart ? slot_change(row.kept_state, s) : full_change(row.clean_column + s);
    };
    for (std::int32_t i = 0; i < row.count; ++i) {
      const std::int32_t t = row.first_token + i;
      const bool target = (rows.flags[row.flags + t] & kTarget) != 0;
      mix(row, t, kept_shares<T>(rows, row.flags, t), changes_of,
          target ? out(row.column + i) : nullptr, kept_change(row.column + i));
    }
  }
};

template <class T>
void delta(const Rows& rows, const DeltaArgs<T>& a) {
#pragma omp parallel
  {
    T* memory = new T[static_cast<size_t>(DeltaHead<T>::scratch(rows, a))];
#pragma omp for schedule(dynamic, 4) collapse(2)
    for (std::int32_t r = 0; r < rows.clean_count; ++r)
      for (int h = 0; h < a.heads; ++h) {
        DeltaHead<T> head(rows, a, h, memory);
        head.mix_fully(rows.rows[r]);
        for (std::int32_t slot = rows.slot_begin[r]; slot < rows.slot_begin[r + 1]; ++slot)
          if (rows.slots[slot].flags >= 0) head.fill_slot(rows.rows[r], slot);
      }
#pragma omp for schedule(dynamic, 16) collapse(2)
    for (std::int32_t r = rows.clean_count; r < rows.count; ++r)
      for (int h = 0; h < a.heads; ++h) {
        const Row& row = rows.rows[r];
        DeltaHead<T> head(rows, a, h, memory);
        const bool cut = in_window(row, rows.layer);
        const bool loses = cut && a.lose[row.channels * a.heads + h] != 0;
        const bool only_kept =
            loses && row.count == 1 && (rows.flags[row.flags + row.first_token] & kTarget) != 0;
        if (!only_kept) head.mix_fully(row);
        if (loses) head.mix_kept(row);
        if (cut && h == 0) count_blocked(rows, edges_read_from_kept_state(rows, row));
      }
    delete[] memory;
  }
}

// One head of the generalised delta rule, with scratch for one token at a time.
template <class T>
struct DplrHead {
  const Rows& rows;
  const DplrDeltaArgs<T>& a;
  int size;
  std::int64_t channel;
  T* probes;  // [2][size] vectors that the state before a token is multiplied by, as they decay
  T* found;   // [2][size] and what that gives

  static std::int64_t scratch(const DplrDeltaArgs<T>& a) { return 4 * std::int64_t{a.head_size}; }
  DplrHead(const Rows& all, const DplrDeltaArgs<T>& args, int head, T* memory)
      : rows(all),
        a(args),
        size(args.head_size),
        channel(static_cast<std::int64_t>(head) * args.head_size),
        probes(memory),
        found(memory + 2 * static_cast<std::int64_t>(args.head_size)) {}

  template <class Number>
  Number* at(const Matrix<Number>& matrix, std::int32_t column) const {
    return matrix.data + column * matrix.stride + channel;
  }

  // What S[t-1] gives for `count` probes. flags: of the row's tokens, null: all enters;
  // removed_of(s) is e of token s.
  template <int count, class RemovedOf>
  void look(const Row& row, std::int32_t t, const std::uint8_t* flags, RemovedOf removed_of) {
    for (int j = 0; j < count * size; ++j) found[j] = T(0);
    for (std::int32_t s = t - 1; s >= 0; --s) {
      const std::int32_t column = column_of(row, s);
      const T *k = at(a.keys, column), *z = at(a.erasing, column), *v = at(a.values, column),
              *w = at(a.decay, column), *e = removed_of(s);
      const T enters = T(flags != nullptr && (flags[s] & kSource) != 0 ? 0 : 1);
      for (int p = 0; p < count; ++p) {
        T *probe = probes + p * size, *sum = found + p * size;
        const T written = enters * dot(probe, k, size), removed = dot(probe, z, size);
#pragma omp simd
        for (int j = 0; j < size; ++j) sum[j] += written * v[j] + removed * e[j];
#pragma omp simd
        for (int j = 0; j < size; ++j) probe[j] *= w[j];
      }
    }
  }

  // Reads token t into `out`, and what it takes away into `removed`, or not where they are null.
  template <class RemovedOf>
  void mix(const Row& row, std::int32_t t, const std::uint8_t* flags, RemovedOf removed_of, T* out,
           T* removed) {
    const std::int32_t column = column_of(row, t);
    const T *r = at(a.receptance, column), *w = at(a.decay, column), *k = at(a.keys, column),
            *v = at(a.values, column), *kk = at(a.erased, column), *z = at(a.erasing, column);
    const std::uint8_t flag = flags == nullptr ? std::uint8_t{0} : flags[t];
    const T writes = T((flag & kSource) != 0 ? 0 : 1), erases = T((flag & kErase) != 0 ? 0 : 1);
    const T written = writes * dot(r, k, size), turned = dot(r, z, size);
    if (out == nullptr) {
      for (int j = 0; j < size; ++j) probes[j] = kk[j];
      look<1>(row, t, flags, removed_of);
      for (int j = 0; j < size; ++j) removed[j] = -erases * found[j];
    } else if (removed == nullptr) {  // S[t] r = S[t-1] (w r - (z . r) kk) + (k . r) v
      for (int j = 0; j < size; ++j) probes[j] = w[j] * r[j] - erases * turned * kk[j];
      look<1>(row, t, flags, removed_of);
      for (int j = 0; j < size; ++j) out[j] = found[j] + written * v[j];
    } else {
      for (int j = 0; j < size; ++j) probes[j] = w[j] * r[j];
      for (int j = 0; j < size; ++j) probes[size + j] = kk[j];
      look<2>(row, t, flags, removed_of);
      for (int j = 0; j < size; ++j) removed[j] = -erases * found[size + j];
      for (int j = 0; j < size; ++j) out[j] = found[j] + turned * removed[j] + written * v[j];
    }
  }

  T* slot_removed(std::int32_t slot, std::int32_t token) const {
    const std::int64_t place = static_cast<std::int64_t>(slot) * rows.longest + token;
    return a.slot_removed + place * a.heads * size + channel;
  }

  // All tokens of a row from its first on, in the full state. Nobody asks what the last one takes.
  void mix_fully(const Row& row) {
    for (std::int32_t i = 0; i < row.count; ++i)
      mix(
          row, row.first_token + i, nullptr,
          [&](std::int32_t s) { return at(a.removed, column_of(row, s)); },
          at(a.out, row.column + i), i + 1 < row.count ? at(a.removed, row.column + i) : nullptr);
  }
  // The tokens of a slot, in its kept state.
  void fill_slot(const Row& clean, std::int32_t index) {
    const StateSlot& slot = rows.slots[index];
    for (std::int32_t t = 0; t < slot.tokens; ++t)
      mix(
          clean, t, rows.flags + slot.flags, [&](std::int32_t s) { return slot_removed(index, s); },
          nullptr, slot_removed(index, t));
  }
  // The targets of a row in its kept state.
  void mix_kept(const Row& row) {
    const bool apart = row.kept_state >= 0 && rows.slots[row.kept_state].flags >= 0;
    const std::uint8_t* flags = rows.flags + row.flags;
    const auto removed_of = [&](std::int32_t s) -> const T* {
      if (s >= row.first_token) return at(a.kept_removed, row.column + s - row.first_token);
      return apart ? slot_removed(row.kept_state, s) : at(a.removed, row.clean_column + s);
    };
    for (std::int32_t i = 0; i < row.count; ++i) {
      const bool target = (flags[row.first_token + i] & kTarget) != 0, last = i + 1 == row.count;
      if (!target && last) continue;
      mix(row, row.first_token + i, flags, removed_of, target ? at(a.out, row.column + i) : nullptr,
          last ? nullptr : at(a.kept_removed, row.column + i));
    }
  }
};

template <class T>
void dplr_delta(const Rows& rows, const DplrDeltaArgs<T>& a) {
#pragma omp parallel
  {
    T* memory = new T[static_cast<size_t>(DplrHead<T>::scratch(a))];
#pragma omp for schedule(dynamic, 4) collapse(2)
    for (std::int32_t r = 0; r < rows.clean_count; ++r)
      for (int h = 0; h < a.heads; ++h) {
        DplrHead<T> head(rows, a, h, memory);
        head.mix_fully(rows.rows[r]);
        for (std::int32_t slot = rows.slot_begin[r]; slot < rows.slot_begin[r + 1]; ++slot)
          if (rows.slots[slot].flags >= 0) head.fill_slot(rows.rows[r], slot);
      }
#pragma omp for schedule(dynamic, 16) collapse(2)
    for (std::int32_t r = rows.clean_count; r < rows.count; ++r)
      for (int h = 0; h < a.heads; ++h) {
        const Row& row = rows.rows[r];
        DplrHead<T> head(rows, a, h, memory);
        const bool cut = in_window(row, rows.layer);
        const bool loses = cut && a.lose[row.channels * a.heads + h] != 0;
        const bool only_kept =
            loses && row.count == 1 && (rows.flags[row.flags + row.first_token] & kTarget) != 0;
        if (!only_kept) head.mix_fully(row);
        if (loses) head.mix_kept(row);
        if (cut && h == 0) count_blocked(rows, edges_read_from_kept_state(rows, row));
      }
    delete[] memory;
  }
}

// Some tokens of a row, from a state on: h, which it leaves behind, and out if that is wanted.
// flags < 0: no token is skipped; `targets`: only what targets read is wanted.
template <class T>
void scan_linearly(const Rows& rows, const LinearScanArgs<T>& a, std::int32_t column,
                   std::int32_t count, std::int32_t flags, bool targets, const std::uint8_t* lose,
                   T* h, bool wanted) {
  for (std::int32_t i = 0; i < count; ++i) {
    const T* input = a.input.data + (column + i) * a.input.stride;
    const T* decay = a.decay.data + (column + i) * a.decay.stride;
    const std::uint8_t flag = flags < 0 ? std::uint8_t{0} : rows.flags[flags + i];
    const T share = (flag & kSource) != 0 ? T(0) : T(1);
#pragma omp simd
    for (std::int64_t j = 0; j < a.channels; ++j) h[j] = decay[j] * h[j] + share * input[j];
    if (!wanted || (targets && (flag & kTarget) == 0)) continue;
    T* out = a.out.data + (column + i) * a.out.stride;
    for (std::int64_t j = 0; j < a.channels; ++j)
      if (lose == nullptr || lose[j] != 0) out[j] = h[j];
  }
}

template <class T>
void linear_scan(const Rows& rows, const LinearScanArgs<T>& a) {
#pragma omp parallel
  {
    T* h = new T[static_cast<size_t>(a.channels)];
    const auto start = [&](std::int32_t slot) {
      for (std::int64_t j = 0; j < a.channels; ++j)
        h[j] = slot < 0 ? T(0) : a.states[slot * a.channels + j];
    };
#pragma omp for schedule(dynamic, 4)
    for (std::int32_t r = 0; r < rows.clean_count; ++r) {
      const Row& row = rows.rows[r];
      start(-1);
      scan_linearly(rows, a, row.column, row.count, -1, false, nullptr, h, true);
      for (std::int32_t i = rows.slot_begin[r]; i < rows.slot_begin[r + 1]; ++i) {
        start(-1);
        scan_linearly(rows, a, row.column, rows.slots[i].tokens, rows.slots[i].flags, false,
                      nullptr, h, false);
        for (std::int64_t j = 0; j < a.channels; ++j) a.states[i * a.channels + j] = h[j];
      }
    }
#pragma omp for schedule(dynamic, 16)
    for (std::int32_t r = rows.clean_count; r < rows.count; ++r) {
      const Row& row = rows.rows[r];
      start(row.full_state);
      scan_linearly(rows, a, row.column, row.count, -1, false, nullptr, h, true);
      if (!in_window(row, rows.layer)) continue;
      start(row.kept_state);
      scan_linearly(rows, a, row.column, row.count, row.flags + row.first_token, true,
                    a.lose + row.channels * a.channels, h, true);
      count_blocked(rows, edges_read_from_kept_state(rows, row));
    }
    delete[] h;
  }
}

template <class T>
void filter(const Rows& rows, const FilterArgs<T>& a) {
#pragma omp parallel for schedule(static)
  for (std::int32_t c = 0; c < rows.column_count; ++c) {
    const Row& row = rows.rows[rows.row_of[c]];
    const std::int32_t t = rows.position[c];
    const bool target =
        a.cuts && in_window(row, rows.layer) && (rows.flags[row.flags + t] & kTarget) != 0;
    T* out = a.out.data + c * a.out.stride;
    for (std::int64_t j = 0; j < a.channels; ++j) out[j] = a.bias != nullptr ? a.bias[j] : T(0);
    std::int64_t edges = 0;
    for (std::int32_t k = 0; k < a.kernel && k <= t; ++k) {
      if (target && (rows.flags[row.flags + t - k] & kSource) != 0) {
        ++edges;
        continue;
      }
      const T* x = a.x.data + column_of(row, t - k) * a.x.stride;
      const T* w = a.weight + k * a.channels;
#pragma omp simd
      for (std::int64_t j = 0; j < a.channels; ++j) out[j] += w[j] * x[j];
    }
    count_blocked(rows, edges);
  }
}

}  // namespace
}  // namespace factflow::kernels::FACTFLOW_ISA
