// What the benchmarks ask of the engine, and how they measure it.
#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

#include "model/architecture.hpp"
#include "model/device.hpp"
#include "model/replay/replay.hpp"

namespace factflow {

// COUNTERFACT-like lengths: 4 to 30 tokens, mean about 9. The subject is three tokens somewhere
// before the last. Subject, relation, last and first are cut from the last token, in windows of
// these sizes at all starts; or, with `parts`, the subject alone, in each of so many heads or
// groups of adjacent channels.
std::vector<ReplayRequest> make_requests(int prompts, const Architecture& architecture,
                                         const std::vector<int>& sizes, int parts = 0);

template <class Function>
double median_seconds(int repeats, at::Device device, Function function) {
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) {
    synchronise(device);
    const auto start = std::chrono::steady_clock::now();
    function();
    synchronise(device);
    times.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

}  // namespace factflow
