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

#include <cstdint>
#include <span>
#include <vector>

#include "model/kernels/kernels.hpp"
#include "model/knockout.hpp"

namespace factflow {

// The same edges blocked in several windows.
struct EdgeCut {
  std::vector<int> targets;  // token positions, ascending, unique
  std::vector<int> sources;  // likewise
  ChannelSet channels;
  std::vector<Window> windows;
};

// A prompt and what to knock out of it.
struct ReplayRequest {
  std::vector<int> ids;
  int answer = 0;
  std::vector<EdgeCut> cuts;
};

struct ReplayPlan {
  int layers = 0;
  // Rows in order of birth; clean rows, one per request, first. Offsets into the arrays below as in
  // kernels::Rows.
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
  // layer l.
  std::vector<std::int32_t> rows_alive, columns_alive;
  std::vector<std::int32_t> parent;

  std::vector<ChannelSet> channel_sets;  // Row::channels indexes them

  // Every row answers for its prompt with its last column.
  std::vector<std::int32_t> request_of;  // per row
  // The cut blocks nothing in this prompt.
  static constexpr std::int32_t kNoEdge = -1;
  // [request][cut][window] row, or kNoEdge.
  std::vector<std::vector<std::vector<std::int32_t>>> answer_row;

  // (target, source) pairs x layers that the kernels must report as blocked.
  std::uint64_t blocked_edges = 0;

  std::int32_t columns() const { return static_cast<std::int32_t>(before.size()); }
};

// `channel_count`: what channel sets choose among; 0 for transformers, where only `all` blocks
// anything. `keep_states`: whether the family needs state slots (Mamba-1). Throws
// std::invalid_argument for a position outside a prompt or out of order, a window outside the model
// or a prompt without tokens.
ReplayPlan plan_replay(std::span<const ReplayRequest> requests, int layers, int channel_count,
                       bool keep_states);

// Sum over layers of alive columns: what the matrix products cost.
std::int64_t column_layers(const ReplayPlan& plan);

}  // namespace factflow
