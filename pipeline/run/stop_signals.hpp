// Signals that ask a run to stop: SIGINT, SIGTERM, and SIGUSR1, which SLURM sends before a time
// limit.
#pragma once

#include <atomic>

namespace factflow {

// From here on they are counted and end nothing. The first thing that a run does: a signal that
// comes earlier ends the process.
void catch_stop_signals();

// How many have come: 1 = finish what is in work, 2 = end at once.
const std::atomic<int>& stop_requests();

}  // namespace factflow
