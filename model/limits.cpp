#include "model/limits.hpp"

#include <fmt/format.h>
#ifdef FACTFLOW_CUDA
#include <ATen/cuda/CUDAContext.h>
#endif

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/architecture.hpp"

namespace factflow {

void expect_at_most(int limit, int found, const char* what, const std::string& model) {
  if (found > limit)
    throw InputError(
        model, fmt::format("has {} {}, but the CUDA kernels hold at most {}", found, what, limit),
        "run it with device: cpu");
}

void expect_shared(size_t limit, int heads, const std::string& model) {
  const size_t bytes = dual_shared_bytes(heads);
  if (bytes > limit)
    throw InputError(
        model,
        fmt::format("has {} heads in a group, which take {} of the GPU's shared memory, but a "
                    "block has at most {}",
                    heads, format_bytes(static_cast<double>(bytes)),
                    format_bytes(static_cast<double>(limit))),
        "run it with device: cpu");
}

CudaLimits cuda_limits(at::Device device) {
  CudaLimits limits;
#ifdef FACTFLOW_CUDA
  if (device.is_cuda())
    limits.shared_bytes = at::cuda::getDeviceProperties(device.index())->sharedMemPerBlockOptin;
#endif
  static_cast<void>(device);
  return limits;
}

size_t dual_shared_bytes(int heads) {
  constexpr size_t kTile = 32;  // source tokens handled at a time
  const auto count = static_cast<size_t>(heads);
  return sizeof(float) * (3 * kTile + count + 2 * kTile * count);
}

void check_cuda_limits(const Architecture& architecture, const CudaLimits& limits,
                       const std::string& model) {
  for (const LayerShape& layer : architecture.blocks)
    for (const BlockShape& block : layer) block.mixer->check_cuda(limits, model);
}

}  // namespace factflow
