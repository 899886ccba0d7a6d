// Interventions on a CPU. Compiled once per instruction set, as cpu_kernels.cpp is, and apart from
// it, so that nothing here changes how its loops are compiled.
#include "model/kernels/interventions.hpp"
#include "model/kernels/vector_math.hpp"

namespace factflow::kernels::FACTFLOW_ISA {
namespace {

constexpr int kBlock = 64;       // channels handled together
constexpr int kMaxStates = 256;  // states per channel that fit the scratch on the stack

std::int32_t column_of(const Row& row, std::int32_t token) {
  return token < row.first_token ? row.clean_column + token : row.column + token - row.first_token;
}

bool is_on(std::int32_t begin, std::int32_t end, std::int32_t layer) {
  return layer >= begin && layer < end;
}

int at_most(std::int64_t count, int limit) {
  return count < limit ? static_cast<int>(count) : limit;
}

// The stored value of a source, for number i of those written, which is channel j.
template <class T>
T stored_source(const SiteArgs<T>& a, const SiteWrite& write, std::int64_t i, std::int64_t j) {
  const T offset = a.value.offset != nullptr ? a.value.offset[j] : T(0);
  switch (write.kind) {
    case SiteWrite::kVector:
      return a.constants[write.source + i] - offset;
    case SiteWrite::kColumn:
      return a.value.stored.data[write.source * a.value.stored.stride + j];
    case SiteWrite::kMean:
      return a.means[write.source * a.value.width + j];
    case SiteWrite::kZero:
      break;
  }
  return -offset;
}

template <class T>
void apply(const SiteArgs<T>& a, const SiteWrite& write, T* to) {
  const std::int64_t count = write.channels < 0 ? a.value.width : write.count;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t j = write.channels < 0 ? i : a.channels[write.channels + i];
    const T source = stored_source(a, write, i, j);
    if (write.add == 0) {
      to[j] = source;
      continue;
    }
    const T offset = a.value.offset != nullptr ? a.value.offset[j] : T(0);
    to[j] += static_cast<T>(write.scale) * (source + offset);
  }
}

template <class T>
void site_write(const Rows& rows, const SiteArgs<T>& a) {
#pragma omp parallel for schedule(static)
  for (std::int32_t i = 0; i < a.target_count; ++i) {
    const SiteTarget& target = a.targets[i];
    if (target.column >= rows.column_count) continue;
    T* to = a.value.stored.data + target.column * a.value.stored.stride;
    for (std::int32_t w = target.begin; w < target.end; ++w)
      if (is_on(a.writes[w].layer_begin, a.writes[w].layer_end, rows.layer))
        apply(a, a.writes[w], to);
  }
}

template <class T>
void site_read(const Rows&, const SiteReadArgs<T>& a) {
  for (std::int32_t i = 0; i < a.count; ++i) {
    const T* from = a.value.stored.data + a.columns[i] * a.value.stored.stride;
    T* out = a.out + i * a.value.width;
    for (std::int64_t j = 0; j < a.value.width; ++j)
      out[j] = a.value.offset != nullptr ? from[j] + a.value.offset[j] : from[j];
  }
}

template <class T>
void site_mean(const Rows&, const SiteMeanArgs<T>& a) {
#pragma omp parallel for schedule(static)
  for (std::int64_t j = 0; j < a.value.width; ++j)
    for (std::int32_t i = 0; i < a.count; ++i) {
      double sum = 0;
      for (std::int32_t c = a.means[i].begin; c < a.means[i].end; ++c)
        sum += static_cast<double>(a.value.stored.data[a.columns[c] * a.value.stored.stride + j]);
      a.out[i * a.value.width + j] =
          static_cast<T>(sum / static_cast<double>(a.means[i].end - a.means[i].begin));
    }
}

// function(number of g, number of s, column, channel) for all of some columns.
template <class T, class Function>
void each_gate(const GateArgs<T>& a, Function function) {
#pragma omp parallel for schedule(static)
  for (std::int32_t i = 0; i < a.count; ++i) {
    const std::int64_t column = a.columns[i];
    T *g = a.g.data + column * a.g.stride, *s = a.s.data + column * a.s.stride;
    for (std::int64_t j = 0; j < a.width; ++j) function(g[j], s[j], column, j);
  }
}

template <class T>
void gate_open(const Rows&, const GateArgs<T>& a, const Matrix<T>& z) {
  each_gate(a, [&](T& g, T&, std::int64_t column, std::int64_t j) {
    T& gate = z.data[column * z.stride + j];
    g = silu(gate);
    gate = T(kOpenGate);
  });
}

template <class T>
void gate_take(const Rows&, const GateArgs<T>& a, const Factor<T>& out) {
  each_gate(a, [&](T&, T& s, std::int64_t column, std::int64_t j) {
    s = out.data[column * out.stride + j] / T(kOpenGate);
  });
}

template <class T>
void gate_close(const Rows&, const GateArgs<T>& a, const Factor<T>& out) {
  each_gate(a, [&](T& g, T& s, std::int64_t column, std::int64_t j) {
    out.data[column * out.stride + j] = s * g;
  });
}

// What a column loses in a layer.
struct Losses {
  const Rows& rows;
  const CutArgs& cut;
  const CutTarget& target;

  bool on(const CutTerm& term) const { return is_on(term.layer_begin, term.layer_end, rows.layer); }
  bool any() const {
    for (std::int32_t i = target.begin; i < target.end; ++i)
      if (on(cut.terms[i])) return true;
    return false;
  }
  bool skip() const {
    for (std::int32_t i = target.begin; i < target.end; ++i)
      if (on(cut.terms[i]) && cut.terms[i].sources == kWithoutSkip) return false;
    return true;
  }
  bool cuts(const CutTerm& term, std::int32_t source) const {
    return on(term) && term.sources >= 0 && (rows.flags[term.sources + source] & kSource) != 0;
  }
  // lose[i] = whether number `begin` + i of a mask loses the edge from the token.
  void edge(std::int32_t source, std::int64_t begin, int count, std::uint8_t* lose) const {
    for (int j = 0; j < count; ++j) lose[j] = 0;
    for (std::int32_t i = target.begin; i < target.end; ++i) {
      if (!cuts(cut.terms[i], source)) continue;
      const std::uint8_t* mask = cut.masks + cut.terms[i].mask * cut.mask_width + begin;
      for (int j = 0; j < count; ++j) lose[j] |= mask[j];
    }
  }
  // Edges from the tokens [first, last] that are cut, each as often as it is asked for.
  void count(std::int32_t first, std::int32_t last) const {
    unsigned long long edges = 0;
    for (std::int32_t i = target.begin; i < target.end; ++i)
      for (std::int32_t s = first; s <= last; ++s) edges += cuts(cut.terms[i], s) ? 1U : 0U;
    if (edges == 0 || rows.blocked == nullptr) return;
#pragma omp atomic
    *rows.blocked += edges;
  }
};

// function(row, token, column, losses) for every column that loses something in this layer.
template <class Function>
void each_target(const Rows& rows, const CutArgs& cut, Function function) {
#pragma omp parallel for schedule(dynamic, 8)
  for (std::int32_t i = 0; i < cut.target_count; ++i) {
    const CutTarget& target = cut.targets[i];
    const Losses losses{rows, cut, target};
    if (target.column >= rows.column_count || !losses.any()) continue;
    function(rows.rows[rows.row_of[target.column]], rows.position[target.column], target.column,
             losses);
  }
}

template <class T>
void conv_cut(const Rows& rows, const ConvArgs<T>& a, const CutArgs& cut) {
  each_target(rows, cut,
              [&](const Row& row, std::int32_t t, std::int32_t column, const Losses& losses) {
                const std::int32_t first = t - a.kernel + 1 > 0 ? t - a.kernel + 1 : 0;
                for (std::int64_t begin = 0; begin < a.channels; begin += kBlock) {
                  const int count = at_most(a.channels - begin, kBlock);
                  T* out = a.out.data + column * a.out.stride + begin;
                  for (int j = 0; j < count; ++j)
                    out[j] = a.bias != nullptr ? a.bias[begin + j] : T(0);
                  for (std::int32_t s = t; s >= first; --s) {
                    std::uint8_t lose[kBlock];
                    losses.edge(s, begin, count, lose);
                    const T* x = a.x.data + column_of(row, s) * a.x.stride + begin;
                    const T* w = a.weight + (t - s) * a.channels + begin;
                    for (int j = 0; j < count; ++j) out[j] += lose[j] != 0 ? T(0) : w[j] * x[j];
                  }
                  for (int j = 0; j < count; ++j) out[j] = silu(out[j]);
                }
                losses.count(first, t);
              });
}

// One block of channels of a column, whose state is scanned anew from the first token on.
template <class T>
void scan_anew(const ScanArgs<T>& a, const Row& row, std::int32_t t, std::int32_t column,
               const Losses& losses, std::int64_t begin) {
  const int count = at_most(a.channels - begin, kBlock);
  T state[kMaxStates][kBlock];
  T delta[kBlock], input[kBlock], y[kBlock];
  std::uint8_t lose[kBlock];
  for (int j = 0; j < count; ++j) y[j] = 0;
  const T* c = a.c.data + column * a.c.stride;
  for (std::int32_t s = 0; s <= t; ++s) {
    const std::int32_t seen = column_of(row, s);
    const T* dt = a.dt.data + seen * a.dt.stride + begin;
    const T* x = a.x.data + seen * a.x.stride + begin;
    const T* b = a.b.data + seen * a.b.stride;
    losses.edge(s, begin, count, lose);
    for (int j = 0; j < count; ++j) {
      delta[j] = softplus(dt[j] + a.dt_bias[begin + j]);
      input[j] = lose[j] != 0 ? T(0) : delta[j] * x[j];
    }
    for (int n = 0; n < a.state_count; ++n) {
      const T* an = a.a + n * a.channels + begin;
      T* h = state[n];
#pragma omp simd
      for (int j = 0; j < count; ++j)
        h[j] = (s == 0 ? T(0) : vector_exp(delta[j] * an[j]) * h[j]) + b[n] * input[j];
      if (s == t)
        for (int j = 0; j < count; ++j) y[j] += c[n] * h[j];
    }
  }
  const bool skip = losses.skip();
  const T* x = a.x.data + column * a.x.stride + begin;
  const T* z = a.z.data + column * a.z.stride + begin;
  T* out = a.out.data + column * a.out.stride + begin;
  for (int j = 0; j < count; ++j)
    out[j] = (skip ? y[j] + a.d[begin + j] * x[j] : y[j]) * silu(z[j]);
}

template <class T>
void scan_cut(const Rows& rows, const ScanArgs<T>& a, const CutArgs& cut) {
  each_target(rows, cut,
              [&](const Row& row, std::int32_t t, std::int32_t column, const Losses& losses) {
                for (std::int64_t begin = 0; begin < a.channels; begin += kBlock)
                  scan_anew(a, row, t, column, losses, begin);
                losses.count(0, t);
              });
}

// Walks back over the tokens that a column sees and collects the decay of a head on the way.
template <class T>
void dual_head(const DualArgs<T>& a, const Row& row, std::int32_t t, std::int32_t column,
               const Losses& losses, int head) {
  const int group = head / (a.heads / a.groups);
  const T* c = a.c.data + column * a.c.stride + group * a.states;
  T* y = a.out.data + column * a.out.stride + head * a.head_size;
  const T skip = losses.skip() ? a.d[head] : T(0);
  const T* own = a.x.data + column * a.x.stride + head * a.head_size;
  for (int p = 0; p < a.head_size; ++p) y[p] = skip * own[p];
  T segment = 0;
  for (std::int32_t s = t; s >= 0; --s) {
    const std::int32_t seen = column_of(row, s);
    std::uint8_t lose = 0;
    losses.edge(s, head, 1, &lose);
    T dt = softplus(a.dt.data[seen * a.dt.stride + head] + a.dt_bias[head]);
    dt = dt < static_cast<T>(a.dt_min) ? static_cast<T>(a.dt_min) : dt;
    dt = dt > static_cast<T>(a.dt_max) ? static_cast<T>(a.dt_max) : dt;
    if (lose == 0) {
      const T* b = a.b.data + seen * a.b.stride + group * a.states;
      T score = 0;
#pragma omp simd reduction(+ : score)
      for (int n = 0; n < a.states; ++n) score += c[n] * b[n];
      const T weight = score * vector_exp(segment) * dt;
      const T* x = a.x.data + seen * a.x.stride + head * a.head_size;
#pragma omp simd
      for (int p = 0; p < a.head_size; ++p) y[p] += weight * x[p];
    }
    segment += dt * a.a[head];
  }
}

template <class T>
void dual_cut(const Rows& rows, const DualArgs<T>& a, const CutArgs& cut) {
  each_target(rows, cut,
              [&](const Row& row, std::int32_t t, std::int32_t column, const Losses& losses) {
                for (int head = 0; head < a.heads; ++head)
                  dual_head(a, row, t, column, losses, head);
                losses.count(0, t);
              });
}

// The first token that a token sees.
template <class T>
std::int32_t first_seen(const AttentionArgs<T>& a, std::int32_t t) {
  return a.sliding_window > 0 && t >= a.sliding_window ? t - a.sliding_window + 1 : 0;
}

// The softmax is kept up to date while the keys pass, so that no scores are kept.
template <class T>
void attend_head(const AttentionArgs<T>& a, const Row& row, std::int32_t t, std::int32_t column,
                 const Losses& losses, int head) {
  const std::int64_t key_head =
      static_cast<std::int64_t>(head / (a.heads / a.key_heads)) * a.head_size;
  const T* q = a.q.data + column * a.q.stride + head * a.head_size;
  T* out = a.out.data + column * a.out.stride + head * a.head_size;
  for (int p = 0; p < a.head_size; ++p) out[p] = 0;
  T largest = 0, total = 0;
  for (std::int32_t s = first_seen(a, t); s <= t; ++s) {
    std::uint8_t lose = 0;
    losses.edge(s, head, 1, &lose);
    if (lose != 0) continue;
    const std::int32_t seen = column_of(row, s);
    const T* k = a.k.data + seen * a.k.stride + key_head;
    const T* v = a.v.data + seen * a.v.stride + key_head;
    T score = 0;
#pragma omp simd reduction(+ : score)
    for (int p = 0; p < a.head_size; ++p) score += q[p] * k[p];
    score *= static_cast<T>(a.scale);
    if (a.score_cap > 0) score = capped(score, a.score_cap);
    const T next = total == T(0) || score > largest ? score : largest;
    const T shrink = total == T(0) ? T(0) : vector_exp(largest - next);
    const T weight = vector_exp(score - next);
    total = total * shrink + weight;
    for (int p = 0; p < a.head_size; ++p) out[p] = out[p] * shrink + weight * v[p];
    largest = next;
  }
  if (total == T(0)) return;  // no key left
  for (int p = 0; p < a.head_size; ++p) out[p] /= total;
}

template <class T>
void attention_cut(const Rows& rows, const AttentionArgs<T>& a, const CutArgs& cut) {
  each_target(rows, cut,
              [&](const Row& row, std::int32_t t, std::int32_t column, const Losses& losses) {
                for (int head = 0; head < a.heads; ++head)
                  attend_head(a, row, t, column, losses, head);
                losses.count(first_seen(a, t), t);
              });
}

template <class T>
constexpr InterventionTable<T> kTable{{gate_open<T>, gate_take<T>, gate_close<T>},
                                      {site_write<T>, site_read<T>, site_mean<T>},
                                      {site_write<T>, site_read<T>, site_mean<T>},
                                      {conv_cut<T>, scan_cut<T>, dual_cut<T>, attention_cut<T>}};

}  // namespace

const InterventionTable<float>& float_interventions() {
  return kTable<float>;
}
const InterventionTable<double>& double_interventions() {
  return kTable<double>;
}

}  // namespace factflow::kernels::FACTFLOW_ISA
