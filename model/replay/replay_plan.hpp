// Which columns a set of knockouts needs, in which layer each is born, and from where. Pure: no
// tensors, no device.
//
// All knockouts of a pass climb the layers together with the clean runs of their prompts
// (docs/replay.md):
// - a clean row holds every token of a prompt and is alive from layer 0;
// - a trajectory of a cut and a start is born when its window begins, from the clean columns of its
// suffix (its tokens from
//   the first target on), and stays blocked up to its longest window's end;
// - a shorter window of the same start is born where it ends, from the trajectory's columns, and is
// not blocked. Columns are ordered by birth, so the columns alive in a layer are always the first
// ones.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "model/block.hpp"
#include "model/intervention.hpp"
#include "model/kernels/interventions.hpp"
#include "model/kernels/kernels.hpp"

namespace factflow {

struct Architecture;

// A prompt, what to do to it, and what to read of it.
struct ReplayRequest {
  std::vector<int> ids;
  int answer = 0;
  std::vector<Series> series = {};
  std::vector<ReadAt> reads = {};
};

// A mixer of tokens in a layer.
struct LayerMixer {
  Path path = Path::kRecurrent;
  int reach = 0;  // MixerShape::reach
  int taps = 0;   // MixerShape::taps
};

// What of a model decides how its replays go.
struct MixerTraits {
  int layers = 0;
  int channels = 0;            // what channel sets choose among; 0: transformers, where only `all`
                               // blocks anything
  bool keeps_states = false;   // whether it needs state slots (Mamba-1)
  int taps = 0;                // of the causal convolution; 0: there is none
  bool gates = false;          // whether a gate follows the scan (Mamba)
  int recurrent_channels = 0;  // what sets choose among that are for recurrent mixers alone
  // [layers]; empty: one mixer in each that reads everything, attention if there are no channels.
  std::vector<std::vector<LayerMixer>> mixers = {};

  int channels_for(Path path) const {
    return path == Path::kRecurrent ? recurrent_channels : channels;
  }
  bool has(Path path) const;  // whether any mixer is on it
  bool alike() const;  // whether every layer has one mixer, of one path, that reads everything
};
MixerTraits traits_of(const Architecture& architecture);

// (target, source) pairs x mixers of a path in the layers of a window that have an edge through a
// state or scores, or through a convolution.
std::uint64_t edges_in(const MixerTraits& mixers, const std::vector<int>& targets,
                       const std::vector<int>& sources, const Window& layers,
                       Path path = Path::kBoth);
std::uint64_t taps_in(const MixerTraits& mixers, const std::vector<int>& targets,
                      const std::vector<int>& sources, const Window& layers,
                      Path path = Path::kBoth);

// What a pass does at one site, in which layers. Offsets as in kernels::SiteArgs.
struct SitePlan {
  std::vector<kernels::SiteTarget> targets;  // in order of birth
  std::vector<kernels::SiteWrite> writes;
  std::vector<kernels::SiteMean> means;
  std::vector<std::int32_t> mean_columns;
  std::vector<std::uint8_t> written;  // [layers + 1] whether anything is; empty: never
  struct Read {
    std::int32_t layer, column, request, index;  // `index` among the request's reads
  };
  std::vector<Read> reads;  // by layer
  int widest = 0;           // 1 + the largest channel that is listed
  int vector = 0;           // numbers of a vector over all channels; 0: there is none
  bool empty() const { return writes.empty() && reads.empty(); }
};

// Edges that the mixing kernels cannot leave out; see kernels::CutArgs.
struct CutPlan {
  std::vector<kernels::CutTarget> targets;  // in order of birth
  std::vector<kernels::CutTerm> terms;
  std::vector<std::uint8_t> on;  // [layers] whether any edge is cut; empty: never
};

// What loses edges through the state, of the mixers of a path.
struct StateSelection {
  Selection selection;
  Path path = Path::kBoth;
  bool operator==(const StateSelection&) const = default;
};

// What of a convolution's channels loses taps.
struct TapSelection {
  Selection selection;
  std::optional<ConvolutionParts> parts;
  bool operator==(const TapSelection&) const = default;
};

struct ReplayPlan {
  int layers = 0;
  // Rows in order of birth. Clean rows come first: one per request, then those of other prompts
  // that requests take values from. Offsets into the arrays below as in kernels::Rows.
  std::vector<kernels::Row> rows;
  std::vector<kernels::TokensBefore> before;   // per column
  std::vector<std::int32_t> position, row_of;  // per column
  std::vector<std::uint8_t> flags;
  std::vector<kernels::StateSlot> slots;
  std::vector<std::int32_t> slot_begin;  // per clean row, + 1
  // Replayed rows of several tokens by group, of one token by part; see kernels::Rows.
  std::vector<kernels::RowGroup> groups;
  std::vector<std::int32_t> group_rows;
  std::vector<kernels::PromptPart> parts;
  std::vector<kernels::LastToken> replays;
  std::int32_t part_tokens = 0;      // see kernels::Rows
  std::vector<std::int32_t> tokens;  // token ids of the clean columns
  std::int32_t clean_columns = 0;
  std::int32_t longest = 0;
  bool suffixes = false;  // see kernels::Rows

  // Per layer l: rows_alive[l], columns_alive[l] (after the births of layer l). Columns born in
  // layer l are copies of the residual stream of columns parent[c - clean_columns] as it enters
  // layer l; those beyond the last layer's are born after it.
  std::vector<std::int32_t> rows_alive, columns_alive;
  std::vector<std::int32_t> parent;

  // Row::channels and the state cuts' masks index them.
  std::vector<StateSelection> selections;
  bool every_channel = true;                 // whether the rows' own cuts are all on all channels
  std::vector<TapSelection> tap_selections;  // likewise the convolution cuts' masks

  // What is done beside the rows' own cuts, for each site and kind of edge.
  std::array<SitePlan, kSites> sites;
  std::vector<std::int32_t> listed_channels;
  std::vector<double> constants;
  std::array<CutPlan, 2> state_cuts;  // of attention, of recurrent mixers
  CutPlan tap_cuts;
  // [layer] columns whose scan must give its output before the gate, each once: something is
  // written or read between scan and gate; and those of them that are wanted without D x. Empty: no
  // such layer.
  std::vector<std::vector<std::int64_t>> before_gate, without_skip;

  // Which mixers a row's own cut concerns, per row. Empty: no row's cut is of one path alone.
  std::vector<Path> path_of;

  // Every row answers for its prompt with its last column; -1: for none.
  std::vector<std::int32_t> request_of;  // per row
  std::vector<std::int32_t> edges_of;    // per row, as Answer::blocked_edges
  // The series changes nothing in this prompt.
  static constexpr std::int32_t kNoEdge = -1;
  // [request][series][run] row, or kNoEdge.
  std::vector<std::vector<std::vector<std::int32_t>>> answer_row;

  // (target, source) pairs x mixers that the kernels must report as blocked.
  std::uint64_t blocked_edges = 0;

  // Whether anything is done beside the rows' own cuts.
  bool has_actions() const;
  std::int32_t columns() const { return static_cast<std::int32_t>(before.size()); }
};

// Throws std::invalid_argument for a position outside a prompt, positions of an edge out of order,
// a layer or window outside the model, tokens of another run that do not pair, a mean of no runs,
// or a prompt without tokens.
ReplayPlan plan_replay(std::span<const ReplayRequest> requests, const MixerTraits& mixer);

// Sum over layers of alive columns: what the matrix products cost.
std::int64_t column_layers(const ReplayPlan& plan);

}  // namespace factflow
