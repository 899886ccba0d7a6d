#include "model/checkpoint/untrusted.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.hpp"

namespace factflow {

std::int64_t checked_bytes(StoredType type, std::span<const std::int64_t> shape,
                           const std::string& where) {
  if (shape.size() > kMaxDimensions)
    throw InputError(
        where, fmt::format("has {} dimensions, expected at most {}", shape.size(), kMaxDimensions));
  auto bytes = static_cast<std::int64_t>(size_of(type));
  for (const std::int64_t size : shape) {
    if (size < 0)
      throw InputError(
          where, fmt::format("has the shape {}, expected no negative size", to_string(shape)));
    if (__builtin_mul_overflow(bytes, size, &bytes))
      throw InputError(
          where, fmt::format("has the shape {}, whose size in bytes overflows", to_string(shape)));
  }
  return bytes;
}

std::string to_string(std::span<const std::int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

}  // namespace factflow
