// The CPU table. Compiled once per instruction set, with FACTFLOW_ISA as the namespace: keep
// templates of the standard library out of here, since their wide copies could be linked into code
// that must run anywhere.
#include "model/kernels/cpu_common.hpp"
#include "model/kernels/cpu_recurrences.hpp"

namespace factflow::kernels::FACTFLOW_ISA {
namespace {

// Channels handled together: a few vector registers of every kind.
constexpr int kBlock = 64;
constexpr int kMaxStates = 256;     // states per channel that fit the scratch on the stack
constexpr int kStackScores = 4096;  // longest prompt whose attention scores fit the stack

template <class T>
T inverse_root(T mean_square, double epsilon) {
  return T(1) / square_root(mean_square + static_cast<T>(epsilon));
}

// residual += norm(x), of one row.
template <class T>
void add_norm(const NormArgs<T>& a, const T* x, T* residual) {
  const auto at = [&](std::int64_t j) { return a.offset != nullptr ? x[j] + a.offset[j] : x[j]; };
  T mean = 0;
  for (std::int64_t j = 0; j < a.width && a.subtract_mean; ++j) mean += at(j);
  mean /= static_cast<T>(a.width);
  T square = 0;
#pragma omp simd reduction(+ : square)
  for (std::int64_t j = 0; j < a.width; ++j) square += (at(j) - mean) * (at(j) - mean);
  const T scale = inverse_root(square / static_cast<T>(a.width), a.epsilon);
  for (std::int64_t j = 0; j < a.width; ++j) {
    const T weighted = (at(j) - mean) * scale * (a.weight != nullptr ? a.weight[j] : T(1));
    residual[j] += a.bias != nullptr ? weighted + a.bias[j] : weighted;
  }
}

template <class T>
void norm(const Rows&, const NormArgs<T>& a) {
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < a.rows; ++i) {
    const T* x = a.x.data + i * a.x.stride;
    if (a.residual.data != nullptr) {
      add_norm(a, x, a.residual.data + i * a.residual.stride);
      continue;
    }
    T* out = a.out.data + i * a.out.stride;
    if (a.offset != nullptr) {
      for (std::int64_t j = 0; j < a.width; ++j) out[j] = x[j] + a.offset[j];
      x = out;
    }
    T mean = 0;
    if (a.subtract_mean) {
#pragma omp simd reduction(+ : mean)
      for (std::int64_t j = 0; j < a.width; ++j) mean += x[j];
      mean /= static_cast<T>(a.width);
    }
    T square = 0;
#pragma omp simd reduction(+ : square)
    for (std::int64_t j = 0; j < a.width; ++j) square += (x[j] - mean) * (x[j] - mean);
    const T scale = inverse_root(square / static_cast<T>(a.width), a.epsilon);
    for (std::int64_t j = 0; j < a.width; ++j) {
      const T scaled = (x[j] - mean) * scale;
      const T weighted = a.weight != nullptr ? scaled * a.weight[j] : scaled;
      out[j] = a.bias != nullptr ? weighted + a.bias[j] : weighted;
    }
  }
}

template <class T>
void conv(const Rows& rows, const ConvArgs<T>& a) {
#pragma omp parallel for schedule(static)
  for (std::int32_t c = 0; c < rows.column_count; ++c) {
    T* out = a.out.data + c * a.out.stride;
    for (std::int64_t j = 0; j < a.channels; ++j) out[j] = a.bias != nullptr ? a.bias[j] : T(0);
    std::int32_t seen = c;
    for (int k = 0; k < a.kernel && seen >= 0; ++k, seen = rows.before[seen].column[0]) {
      const T* x = a.x.data + seen * a.x.stride;
      const T* w = a.weight + k * a.channels;
#pragma omp simd
      for (std::int64_t j = 0; j < a.channels; ++j) out[j] += w[j] * x[j];
    }
#pragma omp simd
    for (std::int64_t j = 0; j < a.channels; ++j) out[j] = silu(out[j]);
  }
}

// One token of the scan on a block of channels.
template <class T>
struct ScanBlock {
  const ScanArgs<T>& a;
  std::int64_t channel;  // first of the block
  int width;             // channels of the block

  T delta[kBlock];  // dt after bias and softplus
  T input[kBlock];  // dt x
  T y[kBlock];

  void start(std::int32_t column) {
    const T* dt = a.dt.data + column * a.dt.stride + channel;
    const T* x = a.x.data + column * a.x.stride + channel;
    const T* bias = a.dt_bias + channel;
#pragma omp simd
    for (int j = 0; j < width; ++j) {
      delta[j] = softplus(dt[j] + bias[j]);
      input[j] = delta[j] * x[j];
      y[j] = 0;
    }
  }
  void decay(int n, T* out) const {
    const T* an = a.a + n * a.channels + channel;
#pragma omp simd
    for (int j = 0; j < width; ++j) out[j] = vector_exp(delta[j] * an[j]);
  }
  void finish(std::int32_t column, const T* read) const {
    const T* x = a.x.data + column * a.x.stride + channel;
    const T* z = a.z.data + column * a.z.stride + channel;
    T* out = a.out.data + column * a.out.stride + channel;
    const T* d = a.d + channel;
#pragma omp simd
    for (int j = 0; j < width; ++j) out[j] = (read[j] + d[j] * x[j]) * silu(z[j]);
  }
  T* slot(std::int32_t index, int n) const {
    return a.states + (static_cast<std::int64_t>(index) * a.state_count + n) * a.channels + channel;
  }
};

// The clean run of one prompt on one block of channels, and the states that replayed rows start
// from.
template <class T>
void scan_clean(const Rows& rows, std::int32_t r, ScanBlock<T>& block) {
  const ScanArgs<T>& a = block.a;
  const Row& row = rows.rows[r];
  const std::int32_t slot_begin = rows.slot_begin[r], slot_end = rows.slot_begin[r + 1];
  T state[kMaxStates][kBlock];
  T decay[kBlock];
  for (std::int32_t t = 0; t < row.count; ++t) {
    const std::int32_t column = row.column + t;
    const T* b = a.b.data + column * a.b.stride;
    const T* c = a.c.data + column * a.c.stride;
    block.start(column);
    for (int n = 0; n < a.state_count; ++n) {
      block.decay(n, decay);
      T* h = state[n];
      const T bn = b[n], cn = c[n];
#pragma omp simd
      for (int j = 0; j < block.width; ++j) {
        h[j] = (t == 0 ? T(0) : decay[j] * h[j]) + bn * block.input[j];
        block.y[j] += cn * h[j];
      }
      for (std::int32_t s = slot_begin; s < slot_end; ++s) {
        const StateSlot& slot = rows.slots[s];
        if (t >= slot.tokens) continue;
        T* kept = block.slot(s, n);
        if (slot.flags < 0) {
          if (t == slot.tokens - 1)
            for (int j = 0; j < block.width; ++j) kept[j] = h[j];
          continue;
        }
        const T share = (rows.flags[slot.flags + t] & kSource) != 0 ? T(0) : bn;
#pragma omp simd
        for (int j = 0; j < block.width; ++j)
          kept[j] = (t == 0 ? T(0) : decay[j] * kept[j]) + share * block.input[j];
      }
    }
    block.finish(column, block.y);
  }
}

// A replayed row of one token: its state is read and never written.
template <class T>
void scan_step(const Rows& rows, const Row& row, ScanBlock<T>& block) {
  const ScanArgs<T>& a = block.a;
  const std::int32_t column = row.column;
  const T* b = a.b.data + column * a.b.stride;
  const T* c = a.c.data + column * a.c.stride;
  const bool blocked =
      in_window(row, rows.layer) && (rows.flags[row.flags + row.first_token] & kTarget) != 0;
  const bool self = blocked && (rows.flags[row.flags + row.first_token] & kSource) != 0;
  const std::uint8_t* lose = blocked ? a.lose + row.channels * a.channels + block.channel : nullptr;
  int losing = 0;
  for (int j = 0; j < block.width && blocked; ++j) losing += lose[j];
  T decay[kBlock];
  block.start(column);
  T input[kBlock];
  for (int j = 0; j < block.width; ++j) input[j] = self && lose[j] != 0 ? T(0) : block.input[j];
  for (int n = 0; n < a.state_count; ++n) {
    const T bn = b[n], cn = c[n];
    const std::int32_t only = losing == 0 ? row.full_state : row.kept_state;
    if (row.full_state < 0) {
      for (int j = 0; j < block.width; ++j) block.y[j] += cn * bn * input[j];
      continue;
    }
    block.decay(n, decay);
    if (losing == 0 || losing == block.width) {
      const T* h = block.slot(only, n);
#pragma omp simd
      for (int j = 0; j < block.width; ++j) block.y[j] += cn * (decay[j] * h[j] + bn * input[j]);
    } else {
      const T* full = block.slot(row.full_state, n);
      const T* kept = block.slot(row.kept_state, n);
#pragma omp simd
      for (int j = 0; j < block.width; ++j)
        block.y[j] += cn * (decay[j] * (lose[j] != 0 ? kept[j] : full[j]) + bn * input[j]);
    }
  }
  block.finish(column, block.y);
}

// A replayed row of several tokens: the full and the kept state side by side; only targets read the
// second.
template <class T>
void scan_suffix(const Rows& rows, const Row& row, ScanBlock<T>& block) {
  const ScanArgs<T>& a = block.a;
  const bool cut = in_window(row, rows.layer);
  const std::uint8_t* lose = cut ? a.lose + row.channels * a.channels + block.channel : nullptr;
  T full[kMaxStates][kBlock], kept[kMaxStates][kBlock];
  T decay[kBlock], y_kept[kBlock];
  for (std::int32_t i = 0; i < row.count; ++i) {
    const std::int32_t column = row.column + i;
    const std::uint8_t flag = cut ? rows.flags[row.flags + row.first_token + i] : std::uint8_t{0};
    const T* b = a.b.data + column * a.b.stride;
    const T* c = a.c.data + column * a.c.stride;
    block.start(column);
    for (int j = 0; j < block.width; ++j) y_kept[j] = 0;
    for (int n = 0; n < a.state_count; ++n) {
      const T bn = b[n], cn = c[n];
      const T share = (flag & kSource) != 0 ? T(0) : bn;
      if (i == 0) {
        for (int j = 0; j < block.width; ++j) {
          full[n][j] = row.full_state < 0 ? T(0) : block.slot(row.full_state, n)[j];
          kept[n][j] = !cut || row.kept_state < 0 ? T(0) : block.slot(row.kept_state, n)[j];
        }
      }
      block.decay(n, decay);
      T* h = full[n];
#pragma omp simd
      for (int j = 0; j < block.width; ++j) {
        h[j] = decay[j] * h[j] + bn * block.input[j];
        block.y[j] += cn * h[j];
      }
      if (!cut) continue;
      T* k = kept[n];
#pragma omp simd
      for (int j = 0; j < block.width; ++j) {
        k[j] = decay[j] * k[j] + share * block.input[j];
        y_kept[j] += cn * k[j];
      }
    }
    if ((flag & kTarget) != 0)
      for (int j = 0; j < block.width; ++j) block.y[j] = lose[j] != 0 ? y_kept[j] : block.y[j];
    block.finish(column, block.y);
  }
}

template <class T>
void scan(const Rows& rows, const ScanArgs<T>& a) {
  const auto blocks = static_cast<std::int32_t>((a.channels + kBlock - 1) / kBlock);
  const auto block_at = [&](std::int32_t index) {
    const std::int64_t channel = static_cast<std::int64_t>(index) * kBlock;
    return ScanBlock<T>{
        a,
        channel,
        static_cast<int>(a.channels - channel < kBlock ? a.channels - channel : kBlock),
        {},
        {},
        {}};
  };
#pragma omp parallel for schedule(dynamic, 8) collapse(2)
  for (std::int32_t r = 0; r < rows.clean_count; ++r)
    for (std::int32_t i = 0; i < blocks; ++i) {
      ScanBlock<T> block = block_at(i);
      scan_clean(rows, r, block);
    }
#pragma omp parallel for schedule(dynamic, 64) collapse(2)
  for (std::int32_t r = rows.clean_count; r < rows.count; ++r)
    for (std::int32_t i = 0; i < blocks; ++i) {
      const Row& row = rows.rows[r];
      ScanBlock<T> block = block_at(i);
      if (row.count == 1)
        scan_step(rows, row, block);
      else
        scan_suffix(rows, row, block);
      if (i == 0 && in_window(row, rows.layer))
        count_blocked(rows, edges_read_from_kept_state(rows, row));
    }
}

// One column of Mamba-2: walks back over the tokens that it sees and collects the decay on the way.
template <class T>
std::int64_t dual_column(const Rows& rows, const DualArgs<T>& a, std::int32_t column) {
  const Row& row = rows.rows[rows.row_of[column]];
  const std::int32_t t = rows.position[column];
  const bool target = in_window(row, rows.layer) && (rows.flags[row.flags + t] & kTarget) != 0;
  const std::uint8_t* lose = target ? a.lose + row.channels * a.heads : nullptr;
  const T* c = a.c.data + column * a.c.stride;
  T* out = a.out.data + column * a.out.stride;
  std::int64_t edges = 0;
  const int heads_per_group = a.heads / a.groups;
  for (int h = 0; h < a.heads; ++h) {
    const T* x = a.x.data + column * a.x.stride + h * a.head_size;
    T* y = out + h * a.head_size;
    for (int p = 0; p < a.head_size; ++p) y[p] = a.d[h] * x[p];
  }
  for (int g = 0; g < a.groups; ++g) {
    T segment[kMaxStates * 4];  // per head of the group: sum of dt A over the tokens after s
    const int first = g * heads_per_group;
    for (int h = 0; h < heads_per_group; ++h) segment[h] = 0;
    for (std::int32_t s = t; s >= 0; --s) {
      const std::int32_t seen = column_of(row, s);
      const bool source = target && (rows.flags[row.flags + s] & kSource) != 0;
      if (source && g == 0) ++edges;
      const T score = dot(c + g * a.states, a.b.data + seen * a.b.stride + g * a.states, a.states);
      const T* x = a.x.data + seen * a.x.stride;
      const T* dt_row = a.dt.data + seen * a.dt.stride;
      for (int h = 0; h < heads_per_group; ++h) {
        const int head = first + h;
        T dt = softplus(dt_row[head] + a.dt_bias[head]);
        dt = dt < static_cast<T>(a.dt_min) ? static_cast<T>(a.dt_min) : dt;
        dt = dt > static_cast<T>(a.dt_max) ? static_cast<T>(a.dt_max) : dt;
        if (!source || lose[head] == 0) {
          const T weight = score * vector_exp(segment[h]) * dt;
          const T* xs = x + head * a.head_size;
          T* y = out + head * a.head_size;
#pragma omp simd
          for (int p = 0; p < a.head_size; ++p) y[p] += weight * xs[p];
        }
        segment[h] += dt * a.a[head];
      }
    }
  }
  return edges;
}

template <class T>
void dual(const Rows& rows, const DualArgs<T>& a) {
#pragma omp parallel for schedule(dynamic, 16)
  for (std::int32_t c = 0; c < rows.column_count; ++c) count_blocked(rows, dual_column(rows, a, c));
}

template <class T>
void group_norm(const GatedNormArgs<T>& a) {
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < a.rows; ++i) {
    const T* y = a.y.data + i * a.y.stride;
    T* out = a.out.data + i * a.out.stride;
    for (std::int64_t g = 0; g < a.width; g += a.group) {
      const T scale = inverse_root(
          dot(y + g, y + g, static_cast<int>(a.group)) / static_cast<T>(a.group), a.epsilon);
      for (std::int64_t j = g; j < g + a.group; ++j) out[j] = y[j] * scale * a.weight[j];
    }
  }
}

template <class T>
void gated_norm(const Rows&, const GatedNormArgs<T>& a) {
  if (a.z.data == nullptr) return group_norm(a);
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < a.rows; ++i) {
    const T* y = a.y.data + i * a.y.stride;
    const T* z = a.z.data + i * a.z.stride;
    T* out = a.out.data + i * a.out.stride;
    for (std::int64_t j = 0; j < a.width; ++j)
      out[j] = a.norm_before_gate ? y[j] : y[j] * silu(z[j]);
    for (std::int64_t g = 0; g < a.width; g += a.group) {
      T square = 0;
#pragma omp simd reduction(+ : square)
      for (std::int64_t j = g; j < g + a.group; ++j) square += out[j] * out[j];
      const T scale = inverse_root(square / static_cast<T>(a.group), a.epsilon);
      for (std::int64_t j = g; j < g + a.group; ++j)
        out[j] = out[j] * scale * a.weight[j] * (a.norm_before_gate ? silu(z[j]) : T(1));
    }
  }
}

// Whether the prompt of a column, all of it, is beyond the short tables.
template <class T>
bool turns_by_long_tables(const Rows& rows, const RotaryArgs<T>& a, std::int32_t column) {
  const Row& row = rows.rows[rows.row_of[column]];
  return row.first_token + row.count > a.short_tokens;
}

template <class T>
void rotary(const Rows& rows, const RotaryArgs<T>& a) {
  const int half = a.rotary / 2;
#pragma omp parallel for schedule(static)
  for (std::int32_t c = 0; c < rows.column_count; ++c) {
    const bool is_long = a.long_cosine != nullptr && turns_by_long_tables(rows, a, c);
    const std::int64_t at = static_cast<std::int64_t>(rows.position[c]) * half;
    const T* cosine = (is_long ? a.long_cosine : a.cosine) + at;
    const T* sine = (is_long ? a.long_sine : a.sine) + at;
    for (int h = 0; h < a.count; ++h) {
      T* x = a.heads.data + c * a.heads.stride + h * a.head_size;
      for (int i = 0; i < half; ++i) {
        const T low = x[i], high = x[i + half];
        x[i] = low * cosine[i] - high * sine[i];
        x[i + half] = high * cosine[i] + low * sine[i];
      }
    }
  }
}

// One column of attention with `scores` [tokens] as scratch; returns the blocked edges.
template <class T>
std::int64_t attention_column(const Rows& rows, const AttentionArgs<T>& a, std::int32_t column,
                              T* scores) {
  const Row& row = rows.rows[rows.row_of[column]];
  const std::int32_t t = rows.position[column];
  const bool target = in_window(row, rows.layer) && (rows.flags[row.flags + t] & kTarget) != 0;
  const std::int32_t begin =
      a.sliding_window > 0 && t >= a.sliding_window ? t - a.sliding_window + 1 : 0;
  std::int64_t edges = 0;
  if (target)
    for (std::int32_t s = begin; s <= t; ++s)
      edges += (rows.flags[row.flags + s] & kSource) != 0 ? 1 : 0;
  for (int h = 0; h < a.heads; ++h) {
    const std::int64_t key_head =
        static_cast<std::int64_t>(h / (a.heads / a.key_heads)) * a.head_size;
    const T* q = a.q.data + column * a.q.stride + h * a.head_size;
    T* out = a.out.data + column * a.out.stride + h * a.head_size;
    for (int p = 0; p < a.head_size; ++p) out[p] = 0;
    T largest = -__builtin_inff();
    for (std::int32_t s = begin; s <= t; ++s) {
      const bool blocked = target && (rows.flags[row.flags + s] & kSource) != 0;
      scores[s] = blocked
                      ? -__builtin_inff()
                      : dot(q, a.k.data + column_of(row, s) * a.k.stride + key_head, a.head_size) *
                            static_cast<T>(a.scale);
      if (a.score_cap > 0 && !blocked) scores[s] = capped(scores[s], a.score_cap);
      largest = scores[s] > largest || scores[s] != scores[s] ? scores[s] : largest;
    }
    if (largest == -__builtin_inff()) continue;  // no key left
    T total = 0;
    for (std::int32_t s = begin; s <= t; ++s) {
      if (scores[s] == -__builtin_inff()) continue;
      const T weight = vector_exp(scores[s] - largest);
      const T* v = a.v.data + column_of(row, s) * a.v.stride + key_head;
      total += weight;
#pragma omp simd
      for (int p = 0; p < a.head_size; ++p) out[p] += weight * v[p];
    }
    for (int p = 0; p < a.head_size; ++p) out[p] /= total;
  }
  return edges;
}

template <class T>
void attention(const Rows& rows, const AttentionArgs<T>& a) {
#pragma omp parallel
  {
    T stack[kStackScores];
    T* scores = rows.longest > kStackScores ? new T[rows.longest] : stack;
#pragma omp for schedule(dynamic, 16)
    for (std::int32_t c = 0; c < rows.column_count; ++c)
      count_blocked(rows, attention_column(rows, a, c, scores));
    if (scores != stack) delete[] scores;
  }
}

template <class T, class Function>
void activate(const ActivationArgs<T>& a, Function function) {
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < a.rows; ++i) {
    const T* gate = a.gate.data + i * a.gate.stride;
    T* out = a.out.data + i * a.out.stride;
    if (a.up.data == nullptr) {
#pragma omp simd
      for (std::int64_t j = 0; j < a.width; ++j) out[j] = function(gate[j]);
    } else {
      const T* up = a.up.data + i * a.up.stride;
#pragma omp simd
      for (std::int64_t j = 0; j < a.width; ++j) out[j] = function(gate[j]) * up[j];
    }
  }
}

template <class T>
void activation(const Rows&, const ActivationArgs<T>& a) {
  switch (a.activation) {
    case Activation::kSilu:
      return activate(a, [](T x) { return silu(x); });
    case Activation::kGeluTanh:
      return activate(a, [](T x) { return gelu_tanh(x); });
    case Activation::kGelu:
      return activate(a, [](T x) { return gelu(x); });
    case Activation::kRelu:
      return activate(a, [](T x) { return x > T(0) ? x : T(0); });
  }
}

template <class T>
void gather(const Rows&, const GatherArgs<T>& a) {
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < a.rows; ++i)
    __builtin_memcpy(a.out.data + i * a.out.stride, a.x.data + a.index[i] * a.x.stride,
                     static_cast<size_t>(a.width) * sizeof(T));
}

// The logit that a number stands for.
template <class T>
T logit_of(const AnswerArgs<T>& a, T number) {
  const T scaled = number * static_cast<T>(a.factor);
  return a.cap > 0 ? capped(scaled, a.cap) : scaled;
}

template <class T>
void answer(const Rows&, const AnswerArgs<T>& a) {
  constexpr std::int64_t kChunk = 1024;  // summed in T, chunks in double
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < a.rows; ++i) {
    const T* logits = a.logits.data + i * a.logits.stride;
    const T right = logits[a.answer[i]];
    T largest = logits[0];
    std::int32_t at_least = 0, equal = 0, finite = 0;
#pragma omp simd reduction(max : largest) reduction(+ : at_least, equal, finite)
    for (std::int64_t j = 0; j < a.vocabulary; ++j) {
      largest = logits[j] > largest ? logits[j] : largest;
      at_least += logits[j] >= right ? 1 : 0;
      equal += logits[j] == right ? 1 : 0;
      finite += logits[j] - logits[j] == T(0) ? 1 : 0;
    }
    if (finite < a.vocabulary) {
      a.log_probability[i] = __builtin_nan("");
      a.rank[i] = kNoRank;
      a.tied[i] = 0;
      continue;
    }
    // The scaling is monotonic: ranks are those of the numbers.
    const bool scales = a.factor != 1 || a.cap > 0;
    const T top = scales ? logit_of(a, largest) : largest;
    double total = 0;
    for (std::int64_t begin = 0; begin < a.vocabulary; begin += kChunk) {
      const std::int64_t end = begin + kChunk < a.vocabulary ? begin + kChunk : a.vocabulary;
      T sum = 0;
      if (scales) {
        for (std::int64_t j = begin; j < end; ++j) sum += vector_exp(logit_of(a, logits[j]) - top);
      } else {
#pragma omp simd reduction(+ : sum)
        for (std::int64_t j = begin; j < end; ++j) sum += vector_exp(logits[j] - largest);
      }
      total += static_cast<double>(sum);
    }
    const T logit = scales ? logit_of(a, right) : right;
    a.log_probability[i] = static_cast<double>(logit) - static_cast<double>(top) - ::log(total);
    a.rank[i] = at_least;  // the answer among them
    a.tied[i] = equal - 1;
  }
}

template <class T>
constexpr KernelTable<T> kTable{norm<T>,   norm<T>,       conv<T>,        scan<T>,   dual<T>,
                                delta<T>,  dplr_delta<T>, linear_scan<T>, filter<T>, gated_norm<T>,
                                rotary<T>, attention<T>,  activation<T>,  gather<T>, answer<T>};

}  // namespace

const KernelTable<float>& float_table() {
  return kTable<float>;
}
const KernelTable<double>& double_table() {
  return kTable<double>;
}

}  // namespace factflow::kernels::FACTFLOW_ISA
