// The CUDA kernels in the emulation with a fault that they had once: Mamba-2's blocks each made
// their own list of a part's replays, in the order of timing, so that from 33 replays on some were
// left out (docs/precision.md). Its header is made from today's by tests/model/CMakeLists.txt.
#define cuda_kernels faulty_kernels
#define cuda_factor faulty_factor
#define cuda_interventions faulty_interventions
#include "faulty_kernels.hpp"

#include "model/kernels/cuda_kernels.cu"

namespace factflow {

kernels::KernelTable<float> kernels_with_faulty_dual() {
  kernels::KernelTable<float> table = kernels::cpu_kernels<float>();
  table.dual = kernels::faulty_kernels<float>().dual;
  return table;
}

}  // namespace factflow
