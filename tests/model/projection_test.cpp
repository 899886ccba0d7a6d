// Products with weights. What a GPU's precisions cost is measured by `factflow verify --device
// cuda` and bench/.
#include "model/projection.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

using testing::HasSubstr;

class ProjectionTest : public testing::TestWithParam<Precision> {
 protected:
  at::Tensor random(std::vector<std::int64_t> shape) const {
    return at::randn(shape, at::TensorOptions().dtype(activation_type(GetParam())));
  }
  double tolerance() const { return GetParam() == Precision::kFp64 ? 1e-12 : 1e-5; }
};

TEST_P(ProjectionTest, MultipliesAddsTheBiasAndAccumulates) {
  const at::Tensor weight = random({7, 5}), bias = random({7}), x = random({3, 5}),
                   before = random({3, 7});
  const Projection projection(weight, GetParam());
  EXPECT_EQ(projection.outputs(), 7);
  EXPECT_EQ(projection.inputs(), 5);
  const at::Tensor product = x.matmul(weight.t());
  at::Tensor out = at::empty_like(before);
  multiply({x}, projection, {}, out);
  EXPECT_LT((out - product).abs().max().item<double>(), tolerance());
  multiply({x}, projection, bias, out);
  EXPECT_LT((out - product - bias).abs().max().item<double>(), tolerance());
  out = before.clone();
  multiply_into({x}, projection, bias, out);
  EXPECT_LT((out - before - product - bias).abs().max().item<double>(), tolerance());
}

TEST_P(ProjectionTest, TakesTransposedWeightsAndPartsOfWiderMatrices) {
  const at::Tensor stored = random({5, 7}), wide = random({3, 9});
  at::Tensor out = random({3, 11});
  multiply({wide.narrow(1, 2, 5)}, Projection(stored.t(), GetParam()), {}, out.narrow(1, 4, 7));
  EXPECT_LT((out.narrow(1, 4, 7) - wide.narrow(1, 2, 5).matmul(stored)).abs().max().item<double>(),
            tolerance());
}

INSTANTIATE_TEST_SUITE_P(Cpu, ProjectionTest, testing::Values(Precision::kFp64, Precision::kFp32),
                         [](const auto& test) { return to_string(test.param); });

TEST(Head, IsOfFloat16InBf16AndRefusedBeyondItsRange) {
  const Weights weights(TensorTable{}, at::kCPU, Precision::kBf16, 1);
  const at::Tensor largest = at::full({2, 3}, 65504.0), beyond = at::full({2, 3}, -65600.0);
  EXPECT_EQ(weights.head(largest).weight().scalar_type(), at::kHalf);
  EXPECT_TRUE(weights.head(largest).weight().to(at::kFloat).equal(largest));
  EXPECT_THROW(weights.head(beyond), InputError);
  const Weights wide(TensorTable{}, at::kCPU, Precision::kTf32, 1);
  EXPECT_TRUE(wide.head(beyond).weight().equal(beyond));
}

TEST(Precisions, NamesAreReadAsTheyAreWritten) {
  for (const char* name : {"fp64", "fp32", "tf32x3", "tf32", "bf16"})
    EXPECT_EQ(to_string(parse_precision(name)), name);
  EXPECT_THROW(parse_precision("fp16"), InputError);
}

TEST(Precisions, ThoseOfAGpuAreRefusedOnTheCpu) {
  for (const Precision precision : {Precision::kTf32x3, Precision::kTf32, Precision::kBf16}) {
    try {
      check_precision(at::kCPU, precision);
      FAIL() << to_string(precision);
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(to_string(precision) + " needs a CUDA device"));
    }
  }
  EXPECT_THROW(check_precision(at::Device(at::kCUDA, 0), Precision::kFp64), InputError);
}

}  // namespace
}  // namespace factflow
