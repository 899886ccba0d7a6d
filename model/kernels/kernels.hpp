// The computations of a replay that are not matrix products, as one table of functions per device
// and number type.
//
// Plain pointers and plain C++ on purpose: the CUDA table is compiled without libtorch headers, and
// the CPU table is compiled once per instruction set. All matrices are row-major; a leading
// dimension (`stride`) counts elements.
//
// The unit of work is a column: one token position of one sequence. A row is a run of consecutive
// columns: either the clean run of a prompt (all its tokens) or one replayed knockout (its tokens
// from the first target on). A replayed row reads the tokens before its own from the clean row of
// the same prompt, in the same matrices. See docs/replay.md.
#pragma once

#include <cstdint>
#include <type_traits>

namespace factflow::kernels {

// One clean or replayed token sequence.
struct Row {
  std::int32_t column;       // its first column
  std::int32_t first_token;  // token position of that column; 0 for a clean row
  std::int32_t count;        // its columns
  // Column of token 0 of the prompt's clean row; == column for a clean row.
  std::int32_t clean_column;
  // Offset of the prompt's token flags of this cut in Rows::flags; -1: never blocked.
  std::int32_t flags;
  std::int32_t window_begin;  // layers [window_begin, window_end) in which the cut is on
  std::int32_t window_end;
  std::int32_t channels;  // index of the channel mask (state-space models)
  // State slot of the tokens before first_token; -1: there are none (Mamba-1).
  std::int32_t full_state;
  std::int32_t kept_state;  // the same without the inputs of blocked sources
};

inline constexpr std::uint8_t kTarget = 1;
inline constexpr std::uint8_t kSource = 2;

// A state that clean rows leave behind for replayed rows: tokens [0, tokens) of a clean row,
// scanned without the inputs of the cut's sources (flags >= 0) or with all inputs (flags < 0).
// Grouped by clean row, those with all inputs first (Mamba-1).
struct StateSlot {
  std::int32_t tokens;
  std::int32_t flags;
};

// Replayed rows of several tokens that start from the same states: Rows::group_rows[begin, begin +
// count), in order of birth (Mamba-1).
struct RowGroup {
  std::int32_t begin;
  std::int32_t count;
};

// A clean row with at most kKeptPerPart of its kept states, and the replays of its last token that
// start from those or from the full state: Rows::replays[begin, begin + count), in order of birth,
// so that those alive in a layer come first. What one block of the CUDA scan carries in registers.
// The first part of each clean row `leads`: it also writes the clean output and the full states.
// Where there are no states (Mamba-2) it has all replays of the last token, kRowsPerPart a part.
struct PromptPart {
  std::int32_t clean_row;
  std::int32_t kept_begin;  // slots
  std::int32_t kept_count;
  std::int32_t begin;
  std::int32_t count;
  std::int32_t leads;        // 0 or 1
  std::int32_t clean_begin;  // clean tokens of the parts before it
};
inline constexpr std::int32_t kKeptPerPart = 3;
inline constexpr std::int32_t kRowsPerPart = 256;

// All that a part has to know of a replayed row of one token.
struct alignas(16) LastToken {
  std::int32_t column;
  std::int32_t window_begin;  // in layers [window_begin, window_end) it is a target of its cut
  std::int32_t window_end;
  std::int32_t kept;  // the state that it then reads, counted from the part's first; kKeptPerPart:
                      // the full one
  std::int32_t channels;  // index of the channel mask
  std::int32_t self;      // 0 or 1: whether the token is a source too
  std::int32_t edges;     // that the cut blocks in each of these layers
  std::int32_t flags;     // offset of the prompt's token flags of this cut, or -1, as in Row
};

// The columns of the three tokens before a column's own, the nearest first, as that column sees
// them; -1 where there is none.
struct alignas(16) TokensBefore {
  std::int32_t column[3];
};

// What the CUDA scan prepares in each layer for the blocks of a part (model/kernels/cuda_scan.cuh),
// in bytes.
inline constexpr std::int64_t kBytesPerPart = 32, kBytesPerReplay = 80, kBytesPerCleanToken = 144;
inline std::int64_t scan_scratch_bytes(std::int64_t parts, std::int64_t replays,
                                       std::int64_t clean_tokens) {
  return parts * kBytesPerPart + replays * kBytesPerReplay + clean_tokens * kBytesPerCleanToken;
}

// The rows that are alive in one layer. Clean rows come first. Pointers are on the device of the
// table.
struct Rows {
  const Row* rows = nullptr;
  std::int32_t clean_count = 0;
  std::int32_t count = 0;                    // alive rows, clean ones included
  std::int32_t column_count = 0;             // alive columns
  std::int32_t longest = 0;                  // tokens of the longest prompt
  std::int32_t slot_count = 0;               // state slots of all clean rows
  const TokensBefore* before = nullptr;      // [columns]
  const std::int32_t* position = nullptr;    // [columns] token position
  const std::int32_t* row_of = nullptr;      // [columns] row of each column
  const std::uint8_t* flags = nullptr;       // kTarget | kSource per token and cut
  const StateSlot* slots = nullptr;          // [slots]
  const std::int32_t* slot_begin = nullptr;  // [clean_count + 1] slots of each clean row
  const RowGroup* groups = nullptr;          // [group_count]
  const std::int32_t* group_rows = nullptr;  // rows of the groups
  const PromptPart* parts = nullptr;         // [part_count]
  const LastToken* replays = nullptr;        // of the parts
  std::int32_t group_count = 0;
  std::int32_t part_count = 0;
  std::int32_t replay_count = 0;
  std::int32_t part_tokens = 0;  // clean tokens of all parts
  bool suffixes = false;         // whether some replayed row has several tokens
  bool every_channel = true;     // whether all cuts are on all channels
  std::int32_t layer = 0;
  unsigned long long* blocked = nullptr;  // counts the edges that were blocked, over all layers
  void* stream = nullptr;                 // CUDA stream
};

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
// of x + offset. weight, bias and offset may be null.
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

// out = weight * norm(y * silu(z)) or, with norm_before_gate, weight * norm(y) * silu(z); RMS over
// groups of `group` channels.
template <class T>
struct GatedNormArgs {
  Matrix<const T> y;
  Matrix<const T> z;
  Factor<T> out;
  const Wide<T>* weight = nullptr;  // [width]
  std::int64_t rows = 0;
  std::int64_t width = 0;
  std::int64_t group = 0;
  double epsilon = 0;
  bool norm_before_gate = false;
};

// Rotary position embedding of the first `rotary` of `head_size` dimensions, in place (Su et al.
// 2021; half-split pairs).
template <class T>
struct RotaryArgs {
  Matrix<T> heads;                  // [columns, count * head_size]
  const Wide<T>* cosine = nullptr;  // [positions, rotary / 2]
  const Wide<T>* sine = nullptr;
  int count = 0, head_size = 0, rotary = 0;
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

// Log-probability, rank and ties of one token per row of logits: rank = 1 + how many other logits
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
};

// Clean columns must be complete before replayed ones are started: scan() does both, in this order.
template <class T>
struct KernelTable {
  void (*norm)(const Rows&, const NormArgs<T>&);
  void (*final_norm)(const Rows&, const NormArgs<Head<T>>&);
  void (*conv)(const Rows&, const ConvArgs<T>&);
  void (*scan)(const Rows&, const ScanArgs<T>&);
  void (*dual)(const Rows&, const DualArgs<T>&);
  void (*gated_norm)(const Rows&, const GatedNormArgs<T>&);
  void (*rotary)(const Rows&, const RotaryArgs<T>&);
  void (*attention)(const Rows&, const AttentionArgs<T>&);
  void (*activation)(const Rows&, const ActivationArgs<T>&);
  void (*gather)(const Rows&, const GatherArgs<Wide<T>>&);
  void (*answer)(const Rows&, const AnswerArgs<Head<T>>&);
};

// The table for this processor: the widest instruction set that it has.
template <class T>
const KernelTable<T>& cpu_kernels();
const char* cpu_instruction_set();  // "avx512", "avx2", "generic"
// For tests, process-wide: other kernels of float, kept by the caller, in place of the processor's;
// null: the processor's again.
void replace_cpu_kernels(const KernelTable<float>* table);

// The table for CUDA devices, in builds with FACTFLOW_CUDA; T is float or Bfloat16. Works on the
// stream of Rows and does not wait for it.
template <class T>
const KernelTable<T>& cuda_kernels();

// Writes x [rows, width] as a factor: rounded to bfloat16, or in the parts of tf32x3.
template <class T>
void cuda_factor(const Rows& rows, const Matrix<const float>& x, const Factor<T>& out,
                 std::int64_t count, std::int64_t width);

}  // namespace factflow::kernels
