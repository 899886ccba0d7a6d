// What of a replay plan is there for the CUDA kernels alone: which replays of last tokens share a
// block of the scan (Mamba-1) or of the dual form (Mamba-2). See docs/replay.md.
#pragma once

#include <cstdint>

namespace factflow::kernels {

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

// What the CUDA scan prepares in each layer for the blocks of a part (model/kernels/cuda_scan.cuh),
// in bytes.
inline constexpr std::int64_t kBytesPerPart = 32, kBytesPerReplay = 80, kBytesPerCleanToken = 144;
inline std::int64_t scan_scratch_bytes(std::int64_t parts, std::int64_t replays,
                                       std::int64_t clean_tokens) {
  return parts * kBytesPerPart + replays * kBytesPerReplay + clean_tokens * kBytesPerCleanToken;
}

}  // namespace factflow::kernels
