// Types, elements and bulk conversion of stored tensors. Loops are written over plain arrays
// without branches, so that the compiler vectorises them; bytes are read by memcpy because a file
// may place a tensor at any address.
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <type_traits>

#include <fmt/format.h>

#include "base/error.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "model/checkpoint/untrusted.hpp"

namespace factflow {
namespace {

static_assert(std::endian::native == std::endian::little,
              "checkpoints are little-endian and are mapped as they are");

struct Half {
  std::uint16_t bits;
};
struct Brain {
  std::uint16_t bits;
};

float to_float(float value) {
  return value;
}
double to_float(double value) {
  return value;
}
float to_float(Brain value) {
  return std::bit_cast<float>(std::uint32_t{value.bits} << 16);
}

// The three cases are computed and selected by masks. Subnormals go through 2^-14 (1 + m) - 2^-14,
// which has no subnormal operand and so does not depend on the processor's flush-to-zero mode.
float to_float(Half value) {
  const std::uint32_t magnitude = std::uint32_t{value.bits} & 0x7fffu;
  const std::uint32_t sign = (std::uint32_t{value.bits} & 0x8000u) << 16;
  const std::uint32_t shifted = magnitude << 13;
  constexpr std::uint32_t kRebias = (127u - 15u) << 23;
  constexpr std::uint32_t kSmallestNormal = kRebias + (1u << 23);  // 2^-14
  const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(
      std::bit_cast<float>(shifted + kSmallestNormal) - std::bit_cast<float>(kSmallestNormal));
  const std::uint32_t is_subnormal = magnitude < 0x0400u ? ~0u : 0u;
  const std::uint32_t is_special = magnitude >= 0x7c00u ? ~0u : 0u;
  const std::uint32_t normal = (shifted + kRebias) | (is_special & 0x7f800000u);
  return std::bit_cast<float>(sign | (is_subnormal & subnormal) | (~is_subnormal & normal));
}

template <typename Stored, typename Out>
void convert_all(const std::byte* bytes, Out* out, size_t count) {
  if constexpr (std::is_same_v<Stored, Out>) {
    std::memcpy(out, bytes, count * sizeof(Stored));
  } else {
    for (size_t i = 0; i < count; ++i) {
      Stored value;
      std::memcpy(&value, bytes + i * sizeof(Stored), sizeof(Stored));
      out[i] = static_cast<Out>(to_float(value));
    }
  }
}

#if defined(__x86_64__)
// Eight halves an instruction: at memory speed, which the masks above miss by a factor of five
// where the build does not enable wide vectors.
__attribute__((target("avx,f16c"))) void convert_by_f16c(const std::byte* bytes, float* out,
                                                         size_t count) {
  constexpr size_t kLanes = 8;
  size_t done = 0;
  for (; done + kLanes <= count; done += kLanes) {
    const auto* source = reinterpret_cast<const __m128i*>(bytes + done * sizeof(Half));
    _mm256_storeu_ps(out + done, _mm256_cvtph_ps(_mm_loadu_si128(source)));
  }
  convert_all<Half>(bytes + done * sizeof(Half), out + done, count - done);
}

// Clang 14 does not know "f16c" in __builtin_cpu_supports; "avx" includes that the system saves the
// registers.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __builtin_cpu_supports("avx") && __get_cpuid(1, &a, &b, &c, &d) != 0 &&
         (c & bit_F16C) != 0;
}
#endif

void convert_halves(const std::byte* bytes, float* out, size_t count) {
#if defined(__x86_64__)
  static const bool kHasF16c = has_f16c();
  if (kHasF16c) return convert_by_f16c(bytes, out, count);
#endif
  convert_all<Half>(bytes, out, count);
}

void convert_halves(const std::byte* bytes, double* out, size_t count) {
  convert_all<Half>(bytes, out, count);
}

template <typename Out>
void convert_range(const StoredTensor& tensor, std::int64_t begin, std::span<Out> out) {
  const std::int64_t count = tensor.count();
  if (begin < 0 || begin > count || out.size() > static_cast<size_t>(count - begin))
    throw std::out_of_range(fmt::format("{}: elements [{}, {} + {}) of a tensor of {}", tensor.file,
                                        begin, begin, out.size(), count));
  if (out.empty()) return;
  const std::byte* bytes = tensor.bytes.data() + static_cast<size_t>(begin) * size_of(tensor.type);
  switch (tensor.type) {
    case StoredType::kF64:
      return convert_all<double>(bytes, out.data(), out.size());
    case StoredType::kF32:
      return convert_all<float>(bytes, out.data(), out.size());
    case StoredType::kF16:
      return convert_halves(bytes, out.data(), out.size());
    case StoredType::kBF16:
      return convert_all<Brain>(bytes, out.data(), out.size());
    default:
      throw InputError(
          tensor.file,
          fmt::format("found a tensor of type {} and shape {}, expected F64, F32, F16 or BF16",
                      to_string(tensor.type), to_string(tensor.shape)));
  }
}

// Elements whose exponent bits are all ones. Counts block by block in the element's own width,
// which keeps the inner loop in full vectors; a block is shorter than the narrowest counter's
// range.
template <typename Bits>
std::int64_t count_masked(std::span<const std::byte> bytes, Bits exponent) {
  constexpr size_t kBlock = 4096;
  std::int64_t total = 0;
  const size_t count = bytes.size() / sizeof(Bits);
  for (size_t begin = 0; begin < count; begin += kBlock) {
    const size_t length = std::min(kBlock, count - begin);
    const std::byte* block = bytes.data() + begin * sizeof(Bits);
    Bits found = 0;
    for (size_t i = 0; i < length; ++i) {
      Bits value;
      std::memcpy(&value, block + i * sizeof(Bits), sizeof(Bits));
      found = static_cast<Bits>(found + ((value & exponent) == exponent ? 1 : 0));
    }
    total += static_cast<std::int64_t>(found);
  }
  return total;
}

}  // namespace

bool is_float(StoredType type) {
  using enum StoredType;
  return type == kF64 || type == kF32 || type == kF16 || type == kBF16;
}

size_t size_of(StoredType type) {
  switch (type) {
    case StoredType::kF64:
    case StoredType::kI64:
      return 8;
    case StoredType::kF32:
    case StoredType::kI32:
      return 4;
    case StoredType::kF16:
    case StoredType::kBF16:
    case StoredType::kI16:
      return 2;
    case StoredType::kI8:
    case StoredType::kU8:
    case StoredType::kBool:
      return 1;
  }
  throw std::logic_error("StoredType out of range");
}

std::string to_string(StoredType type) {
  switch (type) {
    case StoredType::kF64:
      return "F64";
    case StoredType::kF32:
      return "F32";
    case StoredType::kF16:
      return "F16";
    case StoredType::kBF16:
      return "BF16";
    case StoredType::kI64:
      return "I64";
    case StoredType::kI32:
      return "I32";
    case StoredType::kI16:
      return "I16";
    case StoredType::kI8:
      return "I8";
    case StoredType::kU8:
      return "U8";
    case StoredType::kBool:
      return "BOOL";
  }
  throw std::logic_error("StoredType out of range");
}

std::int64_t StoredTensor::count() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

double element(const StoredTensor& tensor, std::int64_t index) {
  double value = 0;
  convert_range(tensor, index, std::span<double>(&value, 1));
  return value;
}

void convert(const StoredTensor& tensor, std::int64_t begin, std::span<float> out) {
  convert_range(tensor, begin, out);
}

void convert(const StoredTensor& tensor, std::int64_t begin, std::span<double> out) {
  convert_range(tensor, begin, out);
}

std::int64_t count_non_finite(const StoredTensor& tensor) {
  switch (tensor.type) {
    case StoredType::kF64:
      return count_masked<std::uint64_t>(tensor.bytes, 0x7ff0'0000'0000'0000u);
    case StoredType::kF32:
      return count_masked<std::uint32_t>(tensor.bytes, 0x7f80'0000u);
    case StoredType::kF16:
      return count_masked<std::uint16_t>(tensor.bytes, 0x7c00u);
    case StoredType::kBF16:
      return count_masked<std::uint16_t>(tensor.bytes, 0x7f80u);
    default:
      return 0;
  }
}

}  // namespace factflow
