#include "model/device.hpp"

#include <algorithm>
#include <cstdlib>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <sys/resource.h>
#ifdef FACTFLOW_CUDA
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <cuda_runtime_api.h>
#endif

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/kernels/kernels.hpp"

namespace factflow {
namespace {

int gpu_count() {
#ifdef FACTFLOW_CUDA
  return static_cast<int>(c10::cuda::device_count());
#else
  return 0;
#endif
}

}  // namespace

at::Device choose_device(const std::string& name) {
  const int gpus = gpu_count();
  if (name == "cpu" || (name == "auto" && gpus == 0)) return at::kCPU;
  const bool numbered = name.starts_with("cuda:") && name.size() > 5 && name.size() < 9 &&
                        name.find_first_not_of("0123456789", 5) == std::string::npos;
  if (name != "auto" && name != "cuda" && !numbered)
    throw InputError("device", fmt::format("expected auto, cpu, cuda or cuda:N, found '{}'", name));
  if (gpus == 0)
    throw InputError("device",
                     fmt::format("'{}' was asked for and no CUDA device can be used", name),
                     "use device: cpu, or a build with -DFACTFLOW_CUDA=ON on a machine with a GPU");
  const int index = numbered ? std::stoi(name.substr(5)) : 0;
  if (index >= gpus)
    throw InputError("device", fmt::format("{} does not exist: {} here", name,
                                           counted(static_cast<std::uint64_t>(gpus), "GPU")));
#ifdef FACTFLOW_CUDA
  C10_CUDA_CHECK(cudaSetDevice(index));
#endif
  return {at::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

std::vector<std::string> visible_gpus() {
  std::vector<std::string> names;
#ifdef FACTFLOW_CUDA
  for (int i = 0; i < gpu_count(); ++i) {
    cudaDeviceProp properties;
    C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, i));
    std::string& name = names.emplace_back("GPU-");
    for (const char byte : properties.uuid.bytes)
      name += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  }
#endif
  return names;
}

std::string describe(at::Device device) {
#ifdef FACTFLOW_CUDA
  if (device.is_cuda()) return at::cuda::getDeviceProperties(device.index())->name;
#endif
  static_cast<void>(device);
  const int threads = at::get_num_threads();
  return fmt::format("CPU, {}, {} {}", kernels::cpu_instruction_set(), threads,
                     threads == 1 ? "thread" : "threads");
}

std::int64_t activation_memory(at::Device device, std::int64_t weights) {
#ifdef FACTFLOW_CUDA
  if (device.is_cuda()) {
    constexpr std::int64_t kOfTheDriver = 16;  // one part in so many, and fragments
    const auto total =
        static_cast<std::int64_t>(at::cuda::getDeviceProperties(device.index())->totalGlobalMem);
    return std::max<std::int64_t>(1, (total - total / kOfTheDriver - weights) / 4 * 3);
  }
#endif
  static_cast<void>(device), static_cast<void>(weights);
  return kCpuActivations;
}

bool is_out_of_memory(const c10::Error& error) {
  const std::string text = error.what_without_backtrace();
  return text.find("out of memory") != std::string::npos ||
         text.find("can't allocate memory") != std::string::npos;
}

void release_cached_memory(at::Device device) {
#ifdef FACTFLOW_CUDA
  if (device.is_cuda()) c10::cuda::CUDACachingAllocator::emptyCache();
#endif
  static_cast<void>(device);
}

void* current_stream(at::Device device) {
#ifdef FACTFLOW_CUDA
  if (device.is_cuda()) return at::cuda::getCurrentCUDAStream(device.index()).stream();
#endif
  static_cast<void>(device);
  return nullptr;
}

c10::Stream another_stream(at::Device device) {
#ifdef FACTFLOW_CUDA
  if (device.is_cuda())
    return at::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index()).unwrap();
#endif
  return c10::Stream(c10::Stream::DEFAULT, device);
}

void allow_tf32(bool allow) {
  at::globalContext().setAllowTF32CuBLAS(allow);
}

FullProducts::FullProducts() : allowed_(at::globalContext().allowTF32CuBLAS()) {
  allow_tf32(false);
}

FullProducts::~FullProducts() {
  allow_tf32(allowed_);
}

void synchronise(at::Device device) {
#ifdef FACTFLOW_CUDA
  if (device.is_cuda()) C10_CUDA_CHECK(cudaDeviceSynchronize());
#endif
  static_cast<void>(device);
}

at::Tensor host_tensor(std::int64_t count, at::ScalarType type, at::Device device) {
  return at::empty({count}, at::TensorOptions().dtype(type).pinned_memory(device.is_cuda()));
}

void DeviceEvent::record(at::Device device) {
#ifdef FACTFLOW_CUDA
  if (device.is_cuda()) {
    cudaEvent_t event = nullptr;
    C10_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    event_ = std::shared_ptr<void>(
        event, [](void* e) { static_cast<void>(cudaEventDestroy(static_cast<cudaEvent_t>(e))); });
    C10_CUDA_CHECK(cudaEventRecord(event, static_cast<cudaStream_t>(current_stream(device))));
  }
#endif
  static_cast<void>(device);
}

void DeviceEvent::wait() const {
#ifdef FACTFLOW_CUDA
  if (event_) C10_CUDA_CHECK(cudaEventSynchronize(static_cast<cudaEvent_t>(event_.get())));
#endif
}

std::int64_t peak_memory(at::Device device) {
#ifdef FACTFLOW_CUDA
  if (device.is_cuda()) {
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(device.index());
    return stats.reserved_bytes[0].peak;
  }
#endif
  static_cast<void>(device);
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

void restart_peak_memory(at::Device device) {
  release_cached_memory(device);
#ifdef FACTFLOW_CUDA
  if (!device.is_cuda()) return;
  // Before the first tensor there are no statistics.
  at::empty({1}, at::TensorOptions().device(device));
  c10::cuda::CUDACachingAllocator::resetPeakStats(device.index());
#endif
}

}  // namespace factflow
