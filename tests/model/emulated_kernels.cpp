// The CUDA kernels, compiled as plain C++ against the emulation in cuda_emulation/, under names of
// their own.
#define cuda_kernels emulated_kernels
#define cuda_factor emulated_factor
#define cuda_interventions emulated_interventions
#include <gtest/gtest.h>

#include "model/kernels/cuda_kernels.cu"
#include "model/limits.hpp"

namespace factflow {
namespace {

// The host knows the kernels' limits without including them.
TEST(CudaLimits, AreThoseOfTheKernels) {
  EXPECT_EQ(CudaLimits{}.states, kernels::kMaxStates);
  EXPECT_EQ(CudaLimits{}.head_size, 32 * kernels::kMaxHeadParts);
  for (const int heads : {1, 7, 80, 1024})
    EXPECT_EQ(dual_shared_bytes(heads), kernels::DualShared::bytes(heads));
}

}  // namespace
}  // namespace factflow
