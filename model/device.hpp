// Devices: naming, memory, streams.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <c10/core/Stream.h>

namespace factflow {

// "auto" (the first GPU that can be used, else the CPU), "cpu", "cuda", "cuda:N". Throws InputError
// if there is no such device.
at::Device choose_device(const std::string& name);

// The GPUs that this process may use, in its own numbering (CUDA_VISIBLE_DEVICES), by names that
// are the same for every process that sees them. Empty without CUDA.
std::vector<std::string> visible_gpus();

std::string describe(at::Device device);  // "CPU, avx512, 2 threads" or "NVIDIA H100 80GB HBM3"

// Bytes that a model's passes may take unless the configuration says otherwise: on a CPU always the
// same, on a GPU three quarters of what its size leaves beside `weights` bytes; at least 1. What
// happens to be free plays no part, since the split into passes decides the last bits of results.
std::int64_t activation_memory(at::Device device, std::int64_t weights);
inline constexpr std::int64_t kCpuActivations = std::int64_t{2} << 30;

// Whether libtorch, on either kind of device, threw this for want of memory.
bool is_out_of_memory(const c10::Error& error);
// What libtorch keeps of freed tensors; nothing on the CPU.
void release_cached_memory(at::Device device);
void* current_stream(at::Device device);  // cudaStream_t, nullptr on the CPU
// A stream whose work runs beside that of others, made current by a c10::StreamGuard; on the CPU
// the only one.
c10::Stream another_stream(at::Device device);
void synchronise(at::Device device);  // waits for what was launched; nothing to do on the CPU
// Bytes: reserved for tensors on a GPU since the last restart, resident set of the process on the
// CPU.
std::int64_t peak_memory(at::Device device);
void restart_peak_memory(at::Device device);  // releases cached memory too; nothing on the CPU

// A host tensor [count] that copies to and from `device` without the host waiting: in pinned memory
// for a GPU.
at::Tensor host_tensor(std::int64_t count, at::ScalarType type, at::Device device);

// A moment in the stream of a device. On the CPU, where nothing is asynchronous, it has always
// come.
class DeviceEvent {
 public:
  void record(at::Device device);
  void wait() const;

 private:
  std::shared_ptr<void> event_;
};

// Whether float32 matrix products on a GPU may round their inputs to TF32. Process-wide in
// libtorch.
void allow_tf32(bool allow);
// While it lives they may not.
class FullProducts {
 public:
  FullProducts();
  ~FullProducts();
  FullProducts(const FullProducts&) = delete;
  FullProducts& operator=(const FullProducts&) = delete;

 private:
  bool allowed_;
};

}  // namespace factflow
