// What every reader of this folder needs to treat a file as hostile: names fit for a message, and
// sizes that do not wrap.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.hpp"
#include "model/checkpoint/checkpoint.hpp"

namespace factflow {

// More dimensions than any checkpoint has; bounds the work that one small entry can cause.
inline constexpr size_t kMaxDimensions = 16;

// Bytes of a tensor. Throws InputError(where, ...) for too many dimensions, a negative one, or a
// product that overflows.
std::int64_t checked_bytes(StoredType type, std::span<const std::int64_t> shape,
                           const std::string& where);

std::string to_string(std::span<const std::int64_t> shape);  // "[211, 48]"

}  // namespace factflow
