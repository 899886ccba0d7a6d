// exp, log1p and friends in a form that the compiler turns into vector instructions. Only for the
// kernel sources: each instruction set's translation unit gets copies of its own (internal
// linkage), so no wide code leaks elsewhere.
//
// float: polynomials after Cephes (Moshier), at most 2 units in the last place inside the normal
// range, checked in tests/model/vector_math_test.cpp. double: the C library, which only the fp64
// precision pays for.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace factflow::kernels {
namespace {

// exp(x). Results below the normal range are rounded to about 1e-38, above to 2.4e38; NaN stays
// NaN.
inline float vector_exp(float x) {
  // 1.5 * 2^23: adding it rounds to an integer in the low bits.
  constexpr float kRound = 12582912.0f;
  x = x < -87.3f ? -87.3f : x;
  x = x > 88.37f ? 88.37f : x;
  const float shifted = x * 1.44269504088896341f + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const std::int32_t exponent =
      std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(kRound);
  return p * std::bit_cast<float>((exponent + 127) << 23);
}
inline double vector_exp(double x) {
  return ::exp(x);
}

// log(x) for normal x > 0.
inline float vector_log(float x) {
  const std::int32_t bits = std::bit_cast<std::int32_t>(x);
  // Sqrt(1/2): the mantissa ends up in [sqrt(1/2), sqrt(2)).
  const std::int32_t reduced = bits - 0x3f3504f3;
  const auto exponent = static_cast<float>(reduced >> 23);
  const float f =
      std::bit_cast<float>(bits - (reduced & static_cast<std::int32_t>(0xff800000))) - 1.0f;
  float p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  const float square = f * f;
  return (p * f * square - exponent * 2.12194440e-4f - 0.5f * square + f) + exponent * 0.693359375f;
}

// log(1 + exp(x)), x itself above 20 as in PyTorch.
inline float softplus(float x) {
  const float u = vector_exp(x > 20.0f ? 20.0f : x);  // NaN stays NaN
  const float y = 1.0f + u;
  const float rounding = u - (y - 1.0f);  // what 1 + u lost; log(y + r) = log(y) + r / y
  const float small = vector_log(y) + rounding / y;
  return x > 20.0f ? x : small;
}
inline double softplus(double x) {
  return x > 20.0 ? x : ::log1p(::exp(x));
}

inline float square_root(float x) {
  return __builtin_sqrtf(x);
}
inline double square_root(double x) {
  return __builtin_sqrt(x);
}

template <class T>
inline T sigmoid(T x) {
  return T(1) / (T(1) + vector_exp(-x));
}

template <class T>
inline T silu(T x) {
  return x * sigmoid(x);
}

// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) = x sigmoid(2 u)
template <class T>
inline T gelu_tanh(T x) {
  const T u = T(0.7978845608028654) * (x + T(0.044715) * x * x * x);
  return x * sigmoid(T(2) * u);
}

// cap tanh(x / cap)
inline float capped(float x, double cap) {
  const auto limit = static_cast<float>(cap);
  return limit * ::tanhf(x / limit);
}
inline double capped(double x, double cap) {
  return cap * ::tanh(x / cap);
}

inline float gelu(float x) {
  return 0.5f * x * (1.0f + ::erff(x * 0.70710678118654752f));
}
inline double gelu(double x) {
  return 0.5 * x * (1.0 + ::erf(x * 0.70710678118654752440));
}

}  // namespace
}  // namespace factflow::kernels
