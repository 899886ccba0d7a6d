// Uploading in pieces gives what reading element by element gives, whatever the type, size and
// alignment.
#include "model/upload.hpp"

#include <random>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace factflow {
namespace {

struct Case {
  StoredType type;
  std::int64_t count;
};

class Upload : public ::testing::TestWithParam<Case> {
 protected:
  // Random finite values, one byte off any alignment.
  StoredTensor random_tensor() {
    std::mt19937 random(7);
    const auto count = static_cast<size_t>(GetParam().count);
    bytes_.resize(1 + count * size_of(GetParam().type));
    for (std::byte& byte : bytes_) byte = static_cast<std::byte>(random());
    // An exponent bit of every type.
    for (size_t i = 0; i < count; ++i) last_byte(i) &= std::byte{0xef};
    return {GetParam().type,
            {GetParam().count},
            std::span<const std::byte>(bytes_).subspan(1),
            "a.safetensors"};
  }
  // Sign and exponent of an element begin in its last byte.
  std::byte& last_byte(size_t i) { return bytes_[(i + 1) * size_of(GetParam().type)]; }
  void make_nan(size_t i) {
    last_byte(i) = std::byte{0xff};
    *(&last_byte(i) - 1) = std::byte{0xff};
  }

  std::vector<std::byte> bytes_;
};

constexpr std::int64_t kPiece = 1 << 16;  // small, so that a tensor takes several

TEST_P(Upload, GivesEveryValue) {
  const StoredTensor stored = random_tensor();
  Uploader uploader(at::kCPU, kPiece);
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    const auto [tensor, non_finite] = uploader.upload(stored, type);
    ASSERT_EQ(tensor.scalar_type(), type);
    ASSERT_EQ(tensor.numel(), stored.count());
    EXPECT_EQ(non_finite, 0);
    const at::Tensor values = tensor.to(at::kDouble);
    for (std::int64_t i = 0; i < stored.count(); ++i) {
      const double exact = element(stored, i);
      const double wanted =
          type == at::kFloat ? static_cast<double>(static_cast<float>(exact)) : exact;
      ASSERT_EQ(values.data_ptr<double>()[i], wanted) << i;
    }
  }
}

TEST_P(Upload, CountsWhatIsNotFinite) {
  const StoredTensor stored = random_tensor();
  std::int64_t planted = 0;
  for (std::int64_t i = 0; i < stored.count(); i += 4099, ++planted)
    make_nan(static_cast<size_t>(i));
  EXPECT_EQ(Uploader(at::kCPU, kPiece).upload(stored, at::kFloat).non_finite, planted);
}

INSTANTIATE_TEST_SUITE_P(
    Types, Upload,
    ::testing::Values(Case{StoredType::kF64, 30'001}, Case{StoredType::kF32, 100'003},
                      Case{StoredType::kF16, 100'003}, Case{StoredType::kBF16, 65'536},
                      Case{StoredType::kBF16, 3'000'001}, Case{StoredType::kF32, 1}));

}  // namespace
}  // namespace factflow
