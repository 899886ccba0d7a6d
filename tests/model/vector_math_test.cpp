// Accuracy of the polynomials in the CPU kernels, in units of the last place of the right float32
// result.
#include "model/kernels/vector_math.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace factflow::kernels {
namespace {

double units(float found, double exact) {
  const float rounded = static_cast<float>(exact);
  const double unit = static_cast<double>(std::nextafter(std::abs(rounded), INFINITY)) -
                      std::abs(static_cast<double>(rounded));
  return std::abs(static_cast<double>(found) - exact) / unit;
}

template <class Function, class Exact>
double worst_units(float begin, float end, float step, Function function, Exact exact) {
  double worst = 0;
  for (float x = begin; x < end; x += step)
    worst = std::max(worst, units(function(x), exact(static_cast<double>(x))));
  return worst;
}

TEST(VectorMath, ExponentialWithinTwoUnits) {
  const auto function = [](float x) { return vector_exp(x); };
  const auto exact = [](double x) { return std::exp(x); };
  EXPECT_LT(worst_units(-87.0F, 88.3F, 0.000731F, function, exact), 2);
  EXPECT_LT(worst_units(-0.01F, 0.01F, 1e-7F, function, exact), 2);
  EXPECT_EQ(vector_exp(0.0F), 1.0F);
}

TEST(VectorMath, ExponentialAtTheEnds) {
  EXPECT_LT(vector_exp(-1000.0F), 1.3e-38F);
  EXPECT_LT(vector_exp(-std::numeric_limits<float>::infinity()), 1.3e-38F);
  EXPECT_GT(vector_exp(1000.0F), 2.3e38F);
  EXPECT_TRUE(std::isnan(vector_exp(std::numeric_limits<float>::quiet_NaN())));
}

TEST(VectorMath, LogarithmWithinTwoUnits) {
  double worst = 0;
  for (float x = 1.2e-38F; x < 3e38F; x *= 1.00021F)
    worst = std::max(worst, units(vector_log(x), std::log(static_cast<double>(x))));
  EXPECT_LT(worst, 2);
  EXPECT_EQ(vector_log(1.0F), 0.0F);
}

TEST(VectorMath, SoftplusWithinThreeUnits) {
  const auto function = [](float x) { return softplus(x); };
  const auto exact = [](double x) { return x > 20 ? x : std::log1p(std::exp(x)); };
  EXPECT_LT(worst_units(-80.0F, 60.0F, 0.00057F, function, exact), 3);
  EXPECT_TRUE(std::isnan(softplus(std::numeric_limits<float>::quiet_NaN())));
}

TEST(VectorMath, ActivationsFollowTheirDefinitions) {
  for (double x = -12; x < 12; x += 0.0037) {
    const double single = static_cast<double>(static_cast<float>(x));
    const auto near = [&](double found, double exact, double tolerance) {
      EXPECT_NEAR(found, exact, tolerance * (1 + std::abs(exact))) << x;
    };
    const double tanh_form =
        0.5 * single *
        (1 + std::tanh(std::sqrt(2 / M_PI) * (single + 0.044715 * single * single * single)));
    const double erf_form = 0.5 * single * (1 + std::erf(single / std::sqrt(2.0)));
    near(silu(static_cast<float>(x)), single / (1 + std::exp(-single)), 3e-7);
    near(gelu_tanh(static_cast<float>(x)), tanh_form, 3e-7);
    near(gelu(static_cast<float>(x)), erf_form, 3e-7);
    near(silu(single), single / (1 + std::exp(-single)), 1e-15);
    near(gelu_tanh(single), tanh_form, 1e-15);
    near(gelu(single), erf_form, 1e-15);
    near(softplus(single), std::log1p(std::exp(single)), 1e-15);
  }
}

}  // namespace
}  // namespace factflow::kernels
