// A replay plan as the kernels read it: rows of columns, what each sees before it, and which of its
// edges are cut.
//
// The unit of work is a column: one token position of one sequence. A row is a run of consecutive
// columns: either the clean run of a prompt (all its tokens) or one replayed knockout (its tokens
// from the first target on). A replayed row reads the tokens before its own from the clean row of
// the same prompt, in the same matrices. See docs/replay.md.
#pragma once

#include <cstdint>

#include "model/kernels/cuda_schedule.hpp"

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
// Of a source, to mixers that erase as they write: it does not erase either.
inline constexpr std::uint8_t kErase = 4;

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

// The columns of the three tokens before a column's own, the nearest first, as that column sees
// them; -1 where there is none.
struct alignas(16) TokensBefore {
  std::int32_t column[3];
};

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
  const std::uint8_t* flags = nullptr;       // kTarget | kSource | kErase per token and cut
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

}  // namespace factflow::kernels
