// The largest sizes that the program computes with; a model beyond one is refused when its
// configuration is read, or when it is put on a GPU, and not by the launches of its first unit.
#pragma once

#include <cstddef>
#include <string>

#include <c10/core/Device.h>

namespace factflow {

struct Architecture;

// Sizes are bounded so that neither their products nor the tensor table can get out of hand.
inline constexpr int kMostLayers = 4096;
inline constexpr int kLargestWidth = 1 << 24;
inline constexpr int kMostTaps = 1024;  // of a convolution

// What the scratch of the CPU kernels holds (model/kernels/cpu_kernels.cpp).
inline constexpr int kMostStates = 256;          // per channel of a selective scan
inline constexpr int kMostHeadsPerGroup = 1024;  // of Mamba-2

// What the CUDA kernels hold.
struct CudaLimits {
  int states = 16;      // per channel of a selective scan: cuda_scan.cuh
  int head_size = 256;  // of attention: cuda_attention.cuh
  // Of shared memory that a block may have; unless the device is known, what the largest have (227
  // KiB: compute capability 9.0; CUDA C++ Programming Guide, "Technical Specifications").
  std::size_t shared_bytes = std::size_t{227} << 10;
};

CudaLimits cuda_limits(at::Device device);  // of a CUDA device

// Bytes of shared memory that a group of so many heads takes in Mamba-2: cuda_dual.cuh.
std::size_t dual_shared_bytes(int heads);

// Throw InputError naming `model`, what is too large, the limit and what to do: for a number of
// `what`, for the heads of a group of Mamba-2, for all that a model's mixers say.
void expect_at_most(int limit, int found, const char* what, const std::string& model);
void expect_shared(std::size_t limit, int heads, const std::string& model);
void check_cuda_limits(const Architecture& architecture, const CudaLimits& limits,
                       const std::string& model);

}  // namespace factflow
