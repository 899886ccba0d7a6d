// What each kernel is given besides the rows: matrices, weights, sizes; and what it computes of
// them.
//
// All matrices are row-major; a leading dimension (`stride`) counts elements.
#pragma once

#include <cstdint>
#include <type_traits>

namespace factflow::kernels {

// A bfloat16 number, as the CUDA table reads and writes activations in bf16.
struct Bfloat16 {
  std::uint16_t bits;
};

// A float16 number (IEEE half precision): in bf16 what the head multiplies and the logits it gives.
// They need no wide range, and 11 bits are closer than bfloat16's 8.
struct Float16 {
  std::uint16_t bits;
};

// The number type of weights, states, sums and the residual stream beside activations of type T.
template <class T>
using Wide = std::conditional_t<std::is_floating_point_v<T>, T, float>;

// The number type of final states and logits beside activations of type T.
template <class T>
using Head = std::conditional_t<std::is_same_v<T, Bfloat16>, Float16, T>;

template <class T>
struct Matrix {  // [rows, columns] with a leading dimension
  T* data = nullptr;
  std::int64_t stride = 0;
};

// What a kernel writes for a product to multiply: the numbers, or what tf32x3 multiplies, or both
// (model/projection.hpp).
template <class T>
struct Factor : Matrix<T> {     // data may be null if there are parts
  Matrix<float> high = {};      // [rows, width] rounded to TF32's 11 bits; null: no parts
  Matrix<Bfloat16> parts = {};  // [rows, 2 width] what `high` leaves over, beside `high`
  std::int64_t width = 0;       // of `high`
};

// out = x / rms(x) * weight (+ nothing) or (x - mean) / std * weight + bias, over `width`, of x or
// of x + offset. weight, bias and offset may be null. With `residual`, the result is added to it
// instead of being written to `out`.
template <class T>
struct NormArgs {
  Matrix<const Wide<T>> x;
  Factor<T> out;
  const Wide<T>* weight = nullptr;
  const Wide<T>* bias = nullptr;
  std::int64_t rows = 0;
  std::int64_t width = 0;
  double epsilon = 0;
  bool subtract_mean = false;
  const Wide<T>* offset = nullptr;
  Matrix<Wide<T>> residual = {};  // data may be null
};

// out[c] = silu(bias + sum_k weight[channel, k] x[k-th last token seen by c]); the causal depthwise
// convolution.
template <class T>
struct ConvArgs {
  Matrix<const T> x;  // [columns, channels]
  Factor<T> out;      // [columns, channels]
  // [kernel, channels]: weight[k] multiplies the token k positions back.
  const Wide<T>* weight = nullptr;
  const Wide<T>* bias = nullptr;  // [channels] or null
  std::int64_t channels = 0;
  int kernel = 4;
};

// Selective scan of Mamba-1 (Gu & Dao 2023, eq. 2 and algorithm 2):
//   h[t] = exp(dt[t] A) h[t-1] + dt[t] B[t] x[t];  y[t] = C[t] h[t] + D x[t];  out[t] = y[t]
//   silu(z[t])
// Target columns of a cut read, on the channels that lose the edge, a second state that skips the
// sources' inputs.
template <class T>
struct ScanArgs {
  Matrix<const T> x;                   // [columns, channels] after convolution and silu
  Matrix<const T> z;                   // [columns, channels] gate before silu
  Matrix<const T> dt;                  // [columns, channels] before bias and softplus
  Matrix<const T> b;                   // [columns, states]
  Matrix<const T> c;                   // [columns, states]
  Factor<T> out;                       // [columns, channels]
  const Wide<T>* dt_bias = nullptr;    // [channels]
  const Wide<T>* a = nullptr;          // [states, channels] = -exp(A_log), transposed
  const Wide<T>* d = nullptr;          // [channels]
  const std::uint8_t* lose = nullptr;  // [masks, channels] 1 where a channel set loses the edge
  // [slots, states, channels]; on CUDA only if there are rows of several tokens.
  Wide<T>* states = nullptr;
  void* scratch = nullptr;  // scan_scratch_bytes() on CUDA, aligned to 16
  std::int64_t channels = 0;
  int state_count = 16;
};

// Mamba-2 in its quadratic form (Dao & Gu 2024, section 3.2 and eq. 20), one scalar decay per head:
//   y[t] = sum_{s <= t} (C[t] . B[s]) exp(sum_{s < i <= t} dt[i] A) dt[s] x[s] + D x[t]
// with dt = clamp(softplus(dt + bias)). A blocked (t, s) pair is left out of the sum on the heads
// that lose the edge.
template <class T>
struct DualArgs {
  Matrix<const T> x;                   // [columns, heads * head_size]
  Matrix<const T> b;                   // [columns, groups * states]
  Matrix<const T> c;                   // [columns, groups * states]
  Matrix<const T> dt;                  // [columns, heads] before bias and softplus
  Matrix<T> out;                       // [columns, heads * head_size]
  const Wide<T>* dt_bias = nullptr;    // [heads]
  const Wide<T>* a = nullptr;          // [heads] = -exp(A_log)
  const Wide<T>* d = nullptr;          // [heads]
  const std::uint8_t* lose = nullptr;  // [masks, heads]
  double dt_min = 0, dt_max = 0;
  int heads = 0, head_size = 0, groups = 1, states = 0;
};

// The gated delta rule (Yang et al. 2024, eq. 10), for each value head, with S = 0 before the first
// token, keys and queries of length one, the latter over sqrt(key_size), beta = largest_beta
// sigmoid(b) and g = exp(A softplus(a + dt_bias)):
//   u[t] = beta[t] (v[t] - g[t] S[t-1]^T k[t]);  S[t] = g[t] S[t-1] + k[t] u[t]^T;
//   out[t] = S[t]^T q[t]
// unrolled over the tokens that a column sees, S[t] = sum_{s <= t} g[s+1] .. g[t] k[s] u[s]^T, so
// that what a token changes, u, is all that is kept of it. Target columns of a cut read, in the
// value heads that lose the edge, a second state whose sources have v = 0, and with kErase take
// nothing away either.
template <class T>
struct DeltaArgs {
  Matrix<const T> q, k;              // [columns, key_heads * key_size]
  Matrix<const T> v;                 // [columns, heads * value_size]
  Matrix<const T> b, a;              // [columns, heads]
  Matrix<T> out;                     // [columns, heads * value_size]
  Matrix<Wide<T>> changes;           // [columns, heads * value_size] u of each column's full state
  Matrix<Wide<T>> kept_changes;      // the same of the kept state of its row
  Wide<T>* slot_changes = nullptr;   // [slots, longest, heads * value_size] of kept states
  const Wide<T>* dt_bias = nullptr;  // [heads]
  const Wide<T>* rate = nullptr;     // [heads] = A = -exp(A_log)
  const std::uint8_t* lose = nullptr;  // [masks, heads]
  int key_heads = 0, key_size = 0, heads = 0, value_size = 0;
  double largest_beta = 1;
  double norm_floor = 0;  // inside the root of the norms of queries and keys
};

// The generalised delta rule of RWKV-7 (Peng et al. 2025, "Goose", eq. 17 and 18), whose transition
// is a diagonal matrix plus one of rank one; for each head, with S = 0 before the first token:
//   e[t] = -S[t-1] kk[t];  S[t] = S[t-1] diag(w[t]) + e[t] z[t]^T + v[t] k[t]^T;  out[t] = S[t]
//   r[t]
// unrolled over the tokens that a column sees, S[t] = sum_{s <= t} (v[s] k[s]^T + e[s] z[s]^T)
// diag(w[s+1] .. w[t]), so that what a token takes away, e, is all that is kept of it. Target
// columns of a cut read, in the heads that lose the edge, a second state whose sources have v = 0,
// and with kErase e = 0 too. T is wide.
template <class T>
struct DplrDeltaArgs {
  Matrix<const T> receptance, decay;   // [columns, heads * head_size] r, w
  Matrix<const T> keys, values;        // k, v
  Matrix<const T> erased, erasing;     // kk, z
  Matrix<T> out;                       // [columns, heads * head_size]
  Matrix<T> removed;                   // [columns, heads * head_size] e of each column's full state
  Matrix<T> kept_removed;              // the same of the kept state of its row
  T* slot_removed = nullptr;           // [slots, longest, heads * head_size] of kept states
  const std::uint8_t* lose = nullptr;  // [masks, heads]
  int heads = 0, head_size = 0;
};
inline constexpr int kLargestDplrHead = 256;  // on CUDA

// A diagonal linear recurrence, h[t] = decay[t] h[t-1] + input[t] and out[t] = h[t], with h = 0
// before the first token (RG-LRU: De et al. 2024, eq. 4). Target columns of a cut read, on the
// channels that lose the edge, a second h that skips the sources' inputs. T is wide.
template <class T>
struct LinearScanArgs {
  Matrix<const T> input, decay;        // [columns, channels]
  Matrix<T> out;                       // [columns, channels]
  T* states = nullptr;                 // [slots, channels]
  const std::uint8_t* lose = nullptr;  // [masks, channels]
  std::int64_t channels = 0;
};

// out[c] = bias + sum_k weight[k] x[k-th last token seen by c]: a causal depthwise convolution
// whose taps are the edges of a mixer. Target columns of a cut do without the sources' taps, on all
// channels. T is wide.
template <class T>
struct FilterArgs {
  Matrix<const T> x;          // [columns, channels]
  Matrix<T> out;              // [columns, channels]
  const T* weight = nullptr;  // [kernel, channels]
  const T* bias = nullptr;    // [channels] or null
  std::int64_t channels = 0;
  int kernel = 3;
  bool cuts = false;  // whether rows' cuts are of these taps
};

// out = weight * norm(y * silu(z)) or, with norm_before_gate, weight * norm(y) * silu(z); RMS over
// groups of `group` channels. Without z there is no gate; out may be y.
template <class T>
struct GatedNormArgs {
  Matrix<const T> y;
  Matrix<const T> z;  // data may be null
  Factor<T> out;
  const Wide<T>* weight = nullptr;  // [width]
  std::int64_t rows = 0;
  std::int64_t width = 0;
  std::int64_t group = 0;
  double epsilon = 0;
  bool norm_before_gate = false;
};

// Rotary position embedding of the first `rotary` of `head_size` dimensions, in place (Su et al.
// 2021; half-split pairs). Rows of prompts of more than `short_tokens` tokens turn by the second
// pair of tables, if there is one (LongRoPE, Ding et al. 2024).
template <class T>
struct RotaryArgs {
  Matrix<T> heads;                  // [columns, count * head_size]
  const Wide<T>* cosine = nullptr;  // [positions, rotary / 2]
  const Wide<T>* sine = nullptr;
  int count = 0, head_size = 0, rotary = 0;
  const Wide<T>* long_cosine = nullptr;  // or null
  const Wide<T>* long_sine = nullptr;
  std::int32_t short_tokens = 0;
};

// Causal attention; blocked pairs score -inf, a column left with no key outputs 0. Grouped queries
// share a key head.
template <class T>
struct AttentionArgs {
  Matrix<const T> q;  // [columns, heads * head_size]
  Matrix<const T> k;  // [columns, key_heads * head_size]
  Matrix<const T> v;
  Factor<T> out;  // [columns, heads * head_size]
  int heads = 0, key_heads = 0, head_size = 0;
  double scale = 1;
  // A token sees itself and the sliding_window - 1 before it; 0: all.
  std::int32_t sliding_window = 0;
  double score_cap = 0;  // c: scores are c tanh(score / c), before edges are blocked; 0: no cap
};

// out = act(gate) * up, or act(gate) without `up`. In place is allowed.
enum class Activation { kSilu, kGeluTanh, kGelu, kRelu };
template <class T>
struct ActivationArgs {
  Matrix<const T> gate;
  Matrix<const T> up;  // data may be null
  Factor<T> out;
  std::int64_t rows = 0, width = 0;
  Activation activation = Activation::kSilu;
};

// out[i] = x[index[i]]
template <class T>
struct GatherArgs {
  Matrix<const T> x;
  Matrix<T> out;
  const std::int32_t* index = nullptr;
  std::int64_t rows = 0, width = 0;
};

// Log-probability, rank and ties of one token per row of logits, which are cap tanh(factor x / cap)
// of the numbers x given, or without a cap factor x: rank = 1 + how many other logits
// are at least as large, tied = how many of these are equal. A row in which anything is NaN or
// infinite has neither: NaN, kNoRank and 0.
inline constexpr std::int32_t kNoRank = -1;
template <class T>
struct AnswerArgs {
  Matrix<const T> logits;
  const std::int32_t* answer = nullptr;  // [rows]
  double* log_probability = nullptr;     // [rows]
  std::int32_t* rank = nullptr;          // [rows]
  std::int32_t* tied = nullptr;          // [rows]
  std::int64_t rows = 0, vocabulary = 0;
  double factor = 1;  // above 0
  double cap = 0;     // 0: none
};

}  // namespace factflow::kernels
