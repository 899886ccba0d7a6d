// Independent pieces of work on all cores.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <future>
#include <thread>
#include <vector>

namespace factflow {

// Calls work(0) .. work(count - 1), each once, in any order and on several threads; rethrows what
// one of them threw.
template <typename Work>
void parallel_for(std::size_t count, const Work& work) {
  const std::size_t threads =
      std::min<std::size_t>(count, std::clamp(std::thread::hardware_concurrency(), 1U, 16U));
  std::atomic<std::size_t> next = 0;
  const auto loop = [&] {
    for (std::size_t i = next++; i < count; i = next++) work(i);
  };
  std::vector<std::future<void>> others;
  for (std::size_t i = 1; i < threads; ++i) others.push_back(std::async(std::launch::async, loop));
  loop();
  for (std::future<void>& other : others) other.get();
}

}  // namespace factflow
