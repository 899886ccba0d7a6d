// CUDA's header of this name for the emulation.
#pragma once

#include <cstddef>

namespace emulation {

void copy_late(bool late);
void copy(void* to, const void* from, std::size_t bytes);
void commit_copies();
void wait_for_copies(std::size_t but);

}  // namespace emulation

inline void __pipeline_memcpy_async(void* to, const void* from, std::size_t bytes) {
  emulation::copy(to, from, bytes);
}
inline void __pipeline_commit() {
  emulation::commit_copies();
}
inline void __pipeline_wait_prior(std::size_t but) {
  emulation::wait_for_copies(but);
}
