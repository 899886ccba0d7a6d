// The kernels (model/kernels/) on tensors: checks shapes, picks the table for device and number
// type. All matrices are [columns or rows, width], row-major, the last dimension contiguous.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include <ATen/ATen.h>

#include "model/intervention.hpp"
#include "model/kernels/interventions.hpp"
#include "model/projection.hpp"
#include "model/replay/pass_actions.hpp"
#include "model/workspace.hpp"

namespace factflow {

// Edges that are left out after all tokens have been mixed; nothing: none.
using Cut = std::optional<kernels::CutArgs>;

// [selections, width] uint8 on the network's device: 1 where a selection loses the edges of a
// block's state, or of its convolution. Undefined where a mixer has none or nothing is selected.
struct BlockMasks {
  at::Tensor channels, taps;
};

// Rows and replays as the mixers of a path see them, on the device.
struct PathRows {
  const kernels::Row* rows = nullptr;
  const kernels::LastToken* replays = nullptr;
};

// What one layer works on: the alive columns of a pass.
struct Step {
  kernels::Rows rows;  // on the device of `hidden`; with the cuts of the block's path
  int layer;
  at::Tensor hidden;  // [columns, hidden] residual stream, updated in place
  Workspace& workspace;
  // This layer's and, as it goes, the block's; see BlockMasks.
  std::span<const BlockMasks> masks_of_blocks;
  at::Tensor channel_masks = {}, tap_masks = {};
  PassActions* actions = nullptr;  // null: nothing is done but the rows' own cuts
  std::array<PathRows, 2> of_path = {};
  std::int64_t flag_count = 0;  // of rows.flags
  // Int32 [rows], alive or not: in how many layers so far a row's tokens went to other experts than
  // the clean row's. Undefined: nobody counts.
  at::Tensor rerouted = {};
  Path path = Path::kBoth;  // of the block, if it mixes tokens
  // Sites that two mixers of the layer have, a bit for each (model/block.hpp): each is that of the
  // block's branch.
  std::uint32_t branched_sites = 0;
  // [columns, hidden] wide: what columns carry beside the stream, if some mixer does
  // (model/mixers/mixer_roles.hpp).
  at::Tensor carried = {};

  // The block that comes next is a mixer of this path.
  void enter(Path of_block);

  // What a site of the block's is called in the layer.
  Site named(Site site) const;
  // The value of a site, [columns, width] + offset [width], is complete: here it is read, and here
  // it changes.
  void at(Site site, const Factor& value, const at::Tensor& offset = {});
  bool touches(Site site) const;  // whether anything happens there
  Cut state_cut() const;
  Cut tap_cut() const;
  // Columns in whose layer something is read or written between scan and gate, and those of them
  // whose scan is wanted without D x; int64, undefined: none.
  at::Tensor before_gate() const;
  at::Tensor without_skip() const;

  std::int64_t columns() const { return hidden.size(0); }
  at::Tensor matrix(const char* name, std::int64_t width) {
    return workspace.matrix(name, columns(), width);
  }
  at::Tensor wide_matrix(const char* name, std::int64_t width) {
    return workspace.wide_matrix(name, columns(), width);
  }
  Factor factor(const char* name, std::int64_t width, bool with_numbers = false) {
    return workspace.factor(name, columns(), width, with_numbers);
  }
};

struct Norm {
  at::Tensor weight, bias;  // [width]; undefined = none
  double epsilon = 1e-5;
  bool subtract_mean = false;  // LayerNorm, else RMSNorm
  at::Tensor offset = {};      // [width], added to x first; undefined = none
  bool identity = false;       // there is none: x itself
};
// x [rows, width], wide numbers.
void apply_norm(const kernels::Rows& rows, const Norm& norm, const at::Tensor& x,
                const Factor& out);

// residual += norm(x); x, residual [rows, width], wide numbers.
void add_norm(const kernels::Rows& rows, const Norm& norm, const at::Tensor& x,
              at::Tensor residual);

struct Convolution {
  at::Tensor weight;  // [kernel, channels], weight[k] for the token k positions back
  at::Tensor bias;    // [channels] or undefined
};
void convolve(const kernels::Rows& rows, const Convolution& convolution, const at::Tensor& x,
              const Factor& out, const Cut& cut = {});

struct SelectiveScan {
  at::Tensor a;        // [states, channels] -exp(A_log) transposed
  at::Tensor d;        // [channels]
  at::Tensor dt_bias;  // [channels]
};
// Whether the scan leaves its states in memory: on CUDA those of one-token rows never get there.
inline bool states_stored(at::Device device, bool suffixes) {
  return device.is_cpu() || suffixes;
}
// Bytes of the scan's scratch memory.
inline std::int64_t scan_scratch_bytes(at::Device device, std::int64_t parts, std::int64_t replays,
                                       std::int64_t clean_tokens) {
  return device.is_cpu() ? 0 : kernels::scan_scratch_bytes(parts, replays, clean_tokens);
}
// x, z, dt [columns, channels]; b, c [columns, states]; states [slots, states, channels], wide, is
// written for the replayed rows if states_stored, else empty; scratch: scan_scratch_bytes.
void selective_scan(const kernels::Rows& rows, const SelectiveScan& scan, const at::Tensor& x,
                    const at::Tensor& z, const at::Tensor& dt, const at::Tensor& b,
                    const at::Tensor& c, const at::Tensor& channel_masks, at::Tensor states,
                    at::Tensor scratch, const Factor& out, const Cut& cut = {});

struct StateSpaceDual {
  at::Tensor a, d, dt_bias;  // [heads]
  double dt_min = 0, dt_max = 0;
  int heads = 0, head_size = 0, groups = 1, states = 0;
};
void state_space_dual(const kernels::Rows& rows, const StateSpaceDual& dual, const at::Tensor& x,
                      const at::Tensor& b, const at::Tensor& c, const at::Tensor& dt,
                      const at::Tensor& channel_masks, at::Tensor out, const Cut& cut = {});

struct DeltaRule {
  at::Tensor rate, dt_bias;  // [heads]
  int key_heads = 0, key_size = 0, heads = 0, value_size = 0;
  double largest_beta = 1, norm_floor = 0;
};
// qkv [columns, 2 keys + values] after the convolution: queries, keys, values side by side; b, a
// [columns, heads]; changes, kept_changes [columns, values] and slot_changes [slots, longest *
// values], wide, are scratch; out [columns, values].
struct DeltaScratch {
  at::Tensor changes, kept_changes, slot_changes;
};
void delta_rule(const kernels::Rows& rows, const DeltaRule& rule, const at::Tensor& qkv,
                const at::Tensor& b, const at::Tensor& a, const at::Tensor& channel_masks,
                const DeltaScratch& scratch, at::Tensor out);

// All [columns, heads * head size], wide; kernels::DplrDeltaArgs says what they are.
struct DplrDelta {
  at::Tensor receptance, decay, keys, values, erased, erasing;
  int heads = 0;
};
// Scratch and out likewise; see delta_rule.
void dplr_delta(const kernels::Rows& rows, const DplrDelta& of, const at::Tensor& channel_masks,
                const DeltaScratch& scratch, at::Tensor out);

// input, decay, out [columns, channels], states [slots, channels]; all wide.
void linear_scan(const kernels::Rows& rows, const at::Tensor& input, const at::Tensor& decay,
                 const at::Tensor& channel_masks, at::Tensor states, at::Tensor out);

// A convolution without an activation, of wide numbers; `cuts`: without the taps that rows' cuts
// take from them.
void filter(const kernels::Rows& rows, const Convolution& convolution, bool cuts,
            const at::Tensor& x, at::Tensor out);

struct GatedNorm {
  at::Tensor weight;  // [width]
  std::int64_t group = 0;
  double epsilon = 1e-5;
  bool norm_before_gate = false;
};
// z undefined: no gate; then out may be y.
void apply_gated_norm(const kernels::Rows& rows, const GatedNorm& norm, const at::Tensor& y,
                      const at::Tensor& z, const Factor& out);

// Tables by position, [positions, dimensions / 2], wide.
struct Rotations {
  at::Tensor cosine, sine;
  at::Tensor long_cosine = {}, long_sine = {};  // of prompts of more tokens; undefined: all alike
  std::int32_t short_tokens = 0;
};
// heads [columns, count * head_size] is rotated in place.
void rotate(const kernels::Rows& rows, const Rotations& rotations, int head_size, at::Tensor heads);

struct Attention {
  int heads = 0, key_heads = 0, head_size = 0;
  double scale = 1;
  std::int32_t sliding_window = 0;
  double score_cap = 0;
};
// query_key_value [columns, (heads + 2 key_heads) * head_size]: queries, keys, values side by side.
void attend(const kernels::Rows& rows, const Attention& attention,
            const at::Tensor& query_key_value, const Factor& out, const Cut& cut = {});

// out = act(gate) * up; `up` undefined: act(gate). In place is allowed.
void activate(const kernels::Rows& rows, kernels::Activation activation, const at::Tensor& gate,
              const at::Tensor& up, const Factor& out);

// out[i] = x[index[i]]; index int32 [rows].
void gather_rows(const kernels::Rows& rows, const at::Tensor& x, const at::Tensor& index,
                 at::Tensor out);

// The gate of a selective scan apart from it (kernels::GateKernels), for columns [count] int64.
// z [all columns, width] activations; g, s [all columns, width], wide.
struct GateColumns {
  at::Tensor columns, g, s;
};
void open_gate(const kernels::Rows& rows, const GateColumns& gate, at::Tensor z);
void take_scan(const kernels::Rows& rows, const GateColumns& gate, const Factor& out);
void close_gate(const kernels::Rows& rows, const GateColumns& gate, const Factor& out);

// Some rows of a factor, as numbers of `type`; rows int64.
at::Tensor read_rows(const Factor& factor, const at::Tensor& rows, at::ScalarType type);
// The opposite, in all forms that the factor has. values [rows, width], wide.
void write_rows(const kernels::Rows& plan, Workspace& workspace, const Factor& factor,
                const at::Tensor& rows, const at::Tensor& values);

// step.hidden += scale (factor W^T + bias), which is the value of `site` but for `folded_bias`, a
// bias that the stream goes without.
void add_to_stream(Step& step, Site site, const Factor& factor, const Projection& projection,
                   const at::Tensor& bias, const at::Tensor& folded_bias, double scale);

// Numbers from one row of logits to the next.
inline std::int64_t padded_vocabulary(std::int64_t vocabulary) {
  return (vocabulary + 7) / 8 * 8;
}

// What is read off logits, per row (kernels::AnswerArgs).
struct AnswerStatistics {
  at::Tensor log_probability;  // float64 [rows]
  at::Tensor rank, tied;       // int32 [rows]
};
// What becomes of a product with the head: cap tanh(factor x / cap), or without a cap factor x.
struct LogitScaling {
  double factor = 1;
  double cap = 0;  // 0: none
};
// logits [rows, vocabulary] before that, answer int32 [rows].
void answer_statistics(const kernels::Rows& rows, const at::Tensor& logits,
                       const at::Tensor& answer, const LogitScaling& scaling,
                       const AnswerStatistics& out);

}  // namespace factflow
