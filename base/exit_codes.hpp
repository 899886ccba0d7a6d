// What factflow's commands exit with (docs/distribution.md, "Exit codes"), for scripts and
// schedulers.
#pragma once

namespace factflow {

inline constexpr int kExitGood = 0;
inline constexpr int kExitFailed = 1;    // units failed, or the run could not go on
inline constexpr int kExitBadInput = 2;  // bad usage or input: the same command fails again
inline constexpr int kExitStopped = 3;   // by a signal: the same command continues
inline constexpr int kExitBusy = 4;      // another launch holds the directory: try again later

}  // namespace factflow
