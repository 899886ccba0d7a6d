#include "pipeline/run/rate_table.hpp"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.hpp"
#include "model/mixers/attention/attention_shape.hpp"
#include "model/mixers/mamba/mamba_shape.hpp"
#include "model/mixers/mlp/mlp_shape.hpp"

namespace factflow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class RateTableTest : public testing::Test {
 protected:
  RateTable table(const std::string& text) {
    file_ = std::filesystem::temp_directory_path() /
            ("factflow_rates_" + std::to_string(::getpid()) + ".csv");
    std::ofstream(file_) << text;
    return RateTable(file_);
  }
  void TearDown() override { std::filesystem::remove(file_); }

  static Architecture mamba(int hidden) {
    Architecture architecture;
    architecture.hidden = hidden;
    architecture.blocks = {{{std::make_shared<MambaShape>()}}};
    return architecture;
  }

  std::filesystem::path file_;
};

TEST_F(RateTableTest, FollowsAPowerLawBetweenMeasuredWidths) {
  const RateTable rates = table(
      "device,precision,kind,hidden,flops_per_second\n\"A, b\",fp32,mamba,100,1e9\n\"A, "
      "b\",fp32,mamba,400,4e9\n");
  EXPECT_DOUBLE_EQ(rates.flops_per_second("A, b", "fp32", mamba(100)), 1e9);
  EXPECT_NEAR(rates.flops_per_second("A, b", "fp32", mamba(200)), 2e9, 1);
  EXPECT_DOUBLE_EQ(rates.flops_per_second("A, b", "fp32", mamba(50)), 5e8);
  EXPECT_DOUBLE_EQ(rates.flops_per_second("A, b", "fp32", mamba(5000)), 4e9);
}

// Measured at one width, for all.
TEST_F(RateTableTest, RowsOfSeveralTokensAreAsMuchSlowerAsWhereBothWereMeasured) {
  const RateTable rates = table(
      "device,precision,kind,hidden,flops_per_second,rows\nA,fp32,mamba,100,1e9,one\n"
      "A,fp32,mamba,400,4e9,one\nA,fp32,mamba,200,1.5e9,several\nA,fp32,mamba,800,1e9,several\n"
      "B,fp32,mamba,100,1e9,one\n");
  const auto several = RowLength::kSeveralTokens;
  EXPECT_NEAR(rates.flops_per_second("A", "fp32", mamba(200), several), 1.5e9, 1);
  EXPECT_NEAR(rates.flops_per_second("A", "fp32", mamba(100), several), 0.75e9, 1);
  EXPECT_NEAR(rates.flops_per_second("A", "fp32", mamba(5000), several), 1e9, 1);
  EXPECT_DOUBLE_EQ(rates.flops_per_second("A", "fp32", mamba(200)), 2e9);
  EXPECT_DOUBLE_EQ(rates.flops_per_second("B", "fp32", mamba(100), several), 1e9);
}

// The demo's models are 128 wide: rates of wide models would promise them 20 times too much.
TEST_F(RateTableTest, TheBuiltInRatesKnowNarrowModels) {
  const RateTable rates;
  for (const char* precision : {"fp32", "tf32"})
    for (const std::string& device : rates.devices(precision))
      EXPECT_LT(rates.flops_per_second(device, precision, mamba(128)),
                rates.flops_per_second(device, precision, mamba(768)) / 2)
          << device << " in " << precision;
}

// Where both were measured, on an H200: rows that go on are never the faster ones by more than
// noise.
TEST_F(RateTableTest, TheBuiltInRatesKnowRowsOfSeveralTokens) {
  const RateTable rates;
  for (const char* precision : {"fp32", "tf32x3", "tf32", "bf16"}) {
    const double one = rates.flops_per_second("NVIDIA H200", precision, mamba(2560)),
                 several = rates.flops_per_second("NVIDIA H200", precision, mamba(2560),
                                                  RowLength::kSeveralTokens);
    EXPECT_LT(several, one) << precision;
    EXPECT_GT(several, one / 2) << precision;
  }
}

TEST_F(RateTableTest, KnowsNothingOfWhatWasNotMeasured) {
  const RateTable rates = table("A,fp32,mamba,100,1e9\n");
  EXPECT_EQ(rates.flops_per_second("A", "tf32", mamba(100)), 0);
  EXPECT_EQ(rates.flops_per_second("B", "fp32", mamba(100)), 0);
  Architecture transformer = mamba(100);
  transformer.blocks = {{{std::make_shared<AttentionShape>()}, {std::make_shared<MlpShape>()}}};
  EXPECT_EQ(rates.flops_per_second("A", "fp32", transformer), 0);
  EXPECT_THAT(rates.devices("fp32"), ElementsAre("A"));
  EXPECT_THAT(rates.devices("tf32"), ElementsAre());
}

TEST_F(RateTableTest, BrokenLinesAreNamed) {
  for (const char* text :
       {"A,fp32,mamba,100,1e9\nA,fp32,mamba,-1,1e9\n", "A,fp32,mamba,100,1e9\nA,fp32,mamba,100\n",
        "A,fp32,mamba,100,1e9\nA,fp32,mamba,100,fast\n",
        "A,fp32,mamba,100,1e9\nA,fp32,mamba,100,inf\n",
        "A,fp32,mamba,100,1e9\nA,fp32,mamba,100,1e9,two\n"}) {
    try {
      table(text);
      FAIL() << text;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(".csv:2: ")) << text;
    }
  }
}

TEST_F(RateTableTest, TheBuiltInRatesCoverEveryPrecisionOfAGpu) {
  const RateTable rates;
  for (const char* precision : {"fp32", "tf32x3", "tf32", "bf16"}) {
    ASSERT_FALSE(rates.devices(precision).empty()) << precision;
    EXPECT_GT(rates.flops_per_second(rates.devices(precision)[0], precision, mamba(2048)), 1e13)
        << precision;
  }
}

}  // namespace
}  // namespace factflow
