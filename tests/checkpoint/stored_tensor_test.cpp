#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "tests/checkpoint/support.hpp"

namespace factflow {
namespace {

// A tensor over raw bytes that begin at an odd address.
class Unaligned {
 public:
  template <typename T>
  Unaligned(StoredType type, const std::vector<T>& values) : bytes_(values.size() * sizeof(T) + 1) {
    std::memcpy(bytes_.data() + 1, values.data(), values.size() * sizeof(T));
    tensor_.type = type;
    tensor_.shape = {static_cast<std::int64_t>(values.size())};
    tensor_.bytes = std::span<const std::byte>(bytes_).subspan(1);
    tensor_.file = "memory";
  }
  const StoredTensor& operator*() const { return tensor_; }

 private:
  std::vector<std::byte> bytes_;
  StoredTensor tensor_;
};

// IEEE 754 binary16 by its definition.
double half_by_definition(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int mantissa = bits & 1023;
  double value =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  if (exponent == 31)
    value = mantissa == 0 ? std::numeric_limits<double>::infinity() : std::nan("");
  return (bits & 0x8000) != 0 ? -value : value;
}

std::vector<std::uint16_t> all_16_bit_patterns() {
  std::vector<std::uint16_t> all(65536);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint16_t>(i);
  return all;
}

TEST(StoredTensor, ConvertsEveryHalf) {
  const std::vector<std::uint16_t> all = all_16_bit_patterns();
  const Unaligned tensor(StoredType::kF16, all);
  std::vector<float> floats(all.size());
  std::vector<double> doubles(all.size());
  convert(*tensor, 0, std::span(floats));
  convert(*tensor, 0, std::span(doubles));
  for (const std::uint16_t bits : all) {
    const double expected = half_by_definition(bits);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(floats[bits]) && std::isnan(doubles[bits])) << bits;
    } else {
      EXPECT_EQ(floats[bits], expected) << bits;
      EXPECT_EQ(doubles[bits], expected) << bits;
      EXPECT_EQ(std::signbit(floats[bits]), (bits & 0x8000) != 0) << bits;
    }
  }
}

// Long ranges and single elements take different code.
TEST(StoredTensor, ConvertsShortRangesOfHalves) {
  const std::vector<std::uint16_t> all = all_16_bit_patterns();
  const Unaligned tensor(StoredType::kF16, all);
  for (const std::uint16_t bits : all) {
    float value = 0;
    convert(*tensor, bits, std::span(&value, 1));
    const double expected = half_by_definition(bits);
    EXPECT_TRUE(value == expected || (std::isnan(value) && std::isnan(expected))) << bits;
  }
}

TEST(StoredTensor, ConvertsEveryBrain) {
  const std::vector<std::uint16_t> all = all_16_bit_patterns();
  const Unaligned tensor(StoredType::kBF16, all);
  std::vector<float> floats(all.size());
  convert(*tensor, 0, std::span(floats));
  for (const std::uint16_t bits : all)
    EXPECT_EQ(std::bit_cast<std::uint32_t>(floats[bits]), std::uint32_t{bits} << 16);
}

TEST(StoredTensor, ConvertsFloatAndDouble) {
  const Unaligned doubles(StoredType::kF64, std::vector<double>{0.1, 1e300, -2.5});
  const Unaligned floats(StoredType::kF32, std::vector<float>{0.1f, -2.5f});
  std::vector<float> as_float(3);
  convert(*doubles, 0, std::span(as_float));
  EXPECT_THAT(as_float, testing::ElementsAre(0.1f, std::numeric_limits<float>::infinity(), -2.5f));
  std::vector<double> as_double(2);
  convert(*floats, 0, std::span(as_double));
  EXPECT_THAT(as_double, testing::ElementsAre(double{0.1f}, -2.5));
}

TEST(StoredTensor, ConvertsARangeAndSingleElements) {
  const Unaligned tensor(StoredType::kF16, std::vector<std::uint16_t>{0x3c00, 0x4000, 0x4200});
  std::vector<float> two(2);
  convert(*tensor, 1, std::span(two));
  EXPECT_THAT(two, testing::ElementsAre(2, 3));
  EXPECT_EQ(element(*tensor, 2), 3);
  EXPECT_THROW(convert(*tensor, 2, std::span(two)), std::out_of_range);
  EXPECT_THROW(convert(*tensor, -1, std::span(two)), std::out_of_range);
  EXPECT_THROW(convert(*tensor, 4, std::span<float>()), std::out_of_range);
  EXPECT_NO_THROW(convert(*tensor, 3, std::span<float>()));
  EXPECT_THROW(element(*tensor, 3), std::out_of_range);
}

TEST(StoredTensor, RefusesToConvertIntegers) {
  const Unaligned tensor(StoredType::kI64, std::vector<std::int64_t>{1, 2});
  EXPECT_THAT(input_error([&] { element(*tensor, 0); }),
              testing::HasSubstr("type I64 and shape [2], expected F64, F32"));
}

TEST(StoredTensor, CountsNonFinite) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(),
                  kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> floats(10'000, std::numeric_limits<float>::max());
  floats[0] = kNan;
  floats[4096] = -kInfinity;
  floats[9999] = kInfinity;
  EXPECT_EQ(count_non_finite(*Unaligned(StoredType::kF32, floats)), 3);
  EXPECT_EQ(
      count_non_finite(*Unaligned(StoredType::kF64, std::vector<double>{1, -kInfinity, kNan})), 2);
  EXPECT_EQ(count_non_finite(*Unaligned(StoredType::kF16, all_16_bit_patterns())), 2048);
  EXPECT_EQ(count_non_finite(*Unaligned(StoredType::kBF16, all_16_bit_patterns())), 256);
  EXPECT_EQ(count_non_finite(*Unaligned(StoredType::kI16, all_16_bit_patterns())), 0);
  EXPECT_EQ(
      count_non_finite(*Unaligned(StoredType::kF16, std::vector<std::uint16_t>(100'000, 0x7c00))),
      100'000);
}

TEST(StoredTensor, CountsElements) {
  StoredTensor tensor;
  EXPECT_EQ(tensor.count(), 1);  // a scalar
  tensor.shape = {3, 0, 5};
  EXPECT_EQ(tensor.count(), 0);
}

}  // namespace
}  // namespace factflow
