// Takes tensors of a checkpoint to a device at the speed of the bus: several threads copy out of
// the file's map into pinned memory, one piece while another is under way, and the device converts
// what has arrived.
#pragma once

#include <array>
#include <cstdint>

#include <ATen/ATen.h>

#include "model/checkpoint/checkpoint.hpp"
#include "model/device.hpp"

namespace factflow {

// libtorch's name of F64, F32, F16 or BF16; throws std::logic_error for other types.
at::ScalarType as_torch(StoredType type);

class Uploader {
 public:
  // Keeps two buffers of `piece` bytes, from the first tensor on.
  explicit Uploader(at::Device device, std::int64_t piece = std::int64_t{32} << 20);

  struct Uploaded {
    at::Tensor tensor;
    std::int64_t non_finite;  // how many values are NaN or infinite
  };
  // The stored values, rounded to nearest, as `type` (float or double) in the stored shape. The
  // stored type is F64, F32, F16 or BF16.
  Uploaded upload(const StoredTensor& stored, at::ScalarType type);

 private:
  struct Buffer {
    at::Tensor bytes;
    DeviceEvent emptied;  // when the device has read it
  };

  at::Device device_;
  std::int64_t piece_;
  std::array<Buffer, 2> buffers_;
  size_t next_ = 0;
};

}  // namespace factflow
