#include "model/upload.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <stdexcept>

#include <ATen/Parallel.h>

namespace factflow {
namespace {

// At least, so that small tensors wake nobody up.
constexpr std::int64_t kBytesPerThread = std::int64_t{1} << 20;

// Copies bytes [begin, begin + count) of a tensor and counts what is not finite while it is in the
// cache.
std::int64_t copy_and_count(const StoredTensor& stored, std::int64_t begin, std::int64_t count,
                            std::uint8_t* out) {
  std::atomic<std::int64_t> non_finite{0};
  at::parallel_for(0, count, kBytesPerThread, [&](std::int64_t first, std::int64_t last) {
    const auto element = static_cast<std::int64_t>(size_of(stored.type));
    first = first / element * element;  // pieces of whole elements
    last = last == count ? last : last / element * element;
    const auto bytes = static_cast<size_t>(last - first);
    std::memcpy(out + first, stored.bytes.data() + begin + first, bytes);
    const StoredTensor part{stored.type,
                            {(last - first) / element},
                            {reinterpret_cast<const std::byte*>(out + first), bytes},
                            stored.file};
    non_finite += count_non_finite(part);
  });
  return non_finite;
}

}  // namespace

at::ScalarType as_torch(StoredType type) {
  switch (type) {
    case StoredType::kF64:
      return at::kDouble;
    case StoredType::kF32:
      return at::kFloat;
    case StoredType::kF16:
      return at::kHalf;
    case StoredType::kBF16:
      return at::kBFloat16;
    default:
      throw std::logic_error("no float type of libtorch: " + to_string(type));
  }
}

Uploader::Uploader(at::Device device, std::int64_t piece)
    : device_(device), piece_(piece / 8 * 8) {}

Uploader::Uploaded Uploader::upload(const StoredTensor& stored, at::ScalarType type) {
  const auto bytes = static_cast<std::int64_t>(stored.bytes.size());
  at::Tensor raw = at::empty({bytes}, at::TensorOptions().dtype(at::kByte).device(device_));
  std::int64_t non_finite = 0;
  for (std::int64_t begin = 0; begin < bytes; begin += piece_) {
    const std::int64_t count = std::min(piece_, bytes - begin);
    Buffer& buffer = buffers_[next_++ % buffers_.size()];
    if (!buffer.bytes.defined()) buffer.bytes = host_tensor(piece_, at::kByte, device_);
    buffer.emptied.wait();
    non_finite += copy_and_count(stored, begin, count, buffer.bytes.data_ptr<std::uint8_t>());
    raw.narrow(0, begin, count).copy_(buffer.bytes.narrow(0, 0, count), /*non_blocking=*/true);
    buffer.emptied.record(device_);
  }
  return {raw.view(as_torch(stored.type)).view(stored.shape).to(type), non_finite};
}

}  // namespace factflow
