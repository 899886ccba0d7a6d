// What is read off logits: rank and ties, and that a row which is not all numbers gives no answer;
// the same from the CPU's tables, the emulated CUDA ones, and the engine.
#include <bit>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "model/device.hpp"
#include "model/families/family.hpp"
#include "model/replay/replay.hpp"
#include "random_checkpoint.hpp"

namespace factflow {
namespace kernels {

// The CUDA tables, as plain C++ (emulated_kernels.cpp).
template <class T>
const KernelTable<T>& emulated_kernels();

}  // namespace kernels

namespace {

using kernels::Bfloat16;
using kernels::Float16;
using kernels::Head;
using kernels::KernelTable;
using kernels::kNoRank;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

template <class T>
T from_double(double value) {
  return static_cast<T>(value);
}
template <>
Float16 from_double(double value) {
  return {c10::detail::fp16_ieee_from_fp32_value(static_cast<float>(value))};
}

template <class T, const KernelTable<T>& (*table)()>
Answer read_answer(const std::vector<double>& logits, std::int32_t answer) {
  std::vector<Head<T>> row;
  for (const double logit : logits) row.push_back(from_double<Head<T>>(logit));
  Answer read;
  const auto width = static_cast<std::int64_t>(row.size());
  table().answer(
      {}, {{row.data(), width}, &answer, &read.log_probability, &read.rank, &read.tied, 1, width});
  return read;
}

// A table that reads answers, whatever its number type.
struct Reader {
  const char* name;
  Answer (*read)(const std::vector<double>& logits, std::int32_t answer);
};
const Reader kReaders[] = {
    {"CPU float", read_answer<float, kernels::cpu_kernels<float>>},
    {"CPU double", read_answer<double, kernels::cpu_kernels<double>>},
    {"CUDA float", read_answer<float, kernels::emulated_kernels<float>>},
    {"CUDA bf16", read_answer<Bfloat16, kernels::emulated_kernels<Bfloat16>>},
};

// Widths that vectors divide and that they do not, shorter and longer than a block's first turn.
constexpr int kWidths[] = {1, 5, 37, 40, 1504, 5001};

// Logits i / 64 modulo 8, exact in every number type.
std::vector<double> some_logits(int width) {
  std::vector<double> logits;
  for (int i = 0; i < width; ++i) logits.push_back(i * 29 % 512 / 64.0);
  return logits;
}

TEST(Answers, RankCountsTokensThatAreAtLeastAsLikely) {
  for (const Reader& reader : kReaders)
    for (const int width : kWidths) {
      const std::vector<double> logits = some_logits(width);
      double sum = 0;
      for (const double logit : logits) sum += std::exp(logit);
      for (const int answer : {0, width / 2, width - 1}) {
        const double right = logits[static_cast<size_t>(answer)];
        int rank = 0, equal = 0;
        for (const double logit : logits) {
          rank += logit >= right ? 1 : 0;
          equal += logit == right ? 1 : 0;
        }
        const Answer read = reader.read(logits, answer);
        EXPECT_NEAR(read.log_probability, right - std::log(sum), 1e-5) << reader.name;
        EXPECT_EQ(read.rank, rank) << reader.name << " " << width;
        EXPECT_EQ(read.tied, equal - 1) << reader.name << " " << width;
        EXPECT_EQ(read.published_rank(), 1 + rank - equal);
      }
    }
}

TEST(Answers, EqualLogitsAreAllLikelierThanTheAnswer) {
  for (const Reader& reader : kReaders)
    for (const int width : kWidths)
      for (const double logit : {0.0, -3.5, 60000.0}) {
        const Answer read =
            reader.read(std::vector<double>(static_cast<size_t>(width), logit), width / 2);
        EXPECT_EQ(read.rank, width) << reader.name;
        EXPECT_EQ(read.tied, width - 1) << reader.name;
        EXPECT_EQ(read.published_rank(), 1) << reader.name;
        EXPECT_NEAR(read.log_probability, -std::log(width), 1e-5) << reader.name;
      }
}

TEST(Answers, ZerosOfBothSignsAreTied) {
  for (const Reader& reader : kReaders)
    EXPECT_EQ(reader.read({0.0, -1.0, -0.0, -2.0, -3.0}, 0).tied, 1) << reader.name;
}

// The bad logit is the answer's own, or another's: the first, the last, one that a vector holds,
// one that is left over.
TEST(Answers, ARowThatIsNotAllNumbersHasNoAnswer) {
  for (const Reader& reader : kReaders)
    for (const int width : kWidths)
      for (const double bad : {kNaN, kInfinity, -kInfinity})
        for (const int place : {0, width / 3, width / 2, width - 1}) {
          std::vector<double> logits = some_logits(width);
          logits[static_cast<size_t>(place)] = bad;
          const Answer read = reader.read(logits, width / 2);
          EXPECT_TRUE(std::isnan(read.log_probability))
              << reader.name << " " << width << " " << bad;
          EXPECT_EQ(read.rank, kNoRank) << reader.name << " " << width << " " << bad;
          EXPECT_EQ(read.tied, 0) << reader.name;
        }
}

TEST(Answers, LogitsThatAreAllTheSameInfinityAreNoAnswer) {
  for (const Reader& reader : kReaders)
    for (const double bad : {kNaN, kInfinity, -kInfinity})
      EXPECT_EQ(reader.read(std::vector<double>(40, bad), 3).rank, kNoRank) << reader.name;
}

// A Llama, so with a head of its own, whose row of `token` is `value` throughout.
std::unique_ptr<Network> network_with_head(double value, int token, Precision precision) {
  const nlohmann::json config = small_config("llama");
  std::map<std::string, NamedTensor> tensors = random_tensors(config, 5);
  NamedTensor& head = tensors.at("lm_head.weight");
  const std::int64_t width = head.shape[1];
  for (std::int64_t row = 0; row < head.shape[0]; ++row)
    if (token < 0 || row == token)
      for (std::int64_t j = 0; j < width; ++j)
        head.values[static_cast<size_t>(row * width + j)] = static_cast<float>(value);
  const TemporaryDirectory directory;
  write_checkpoint(directory.path(), config, tensors);
  return Network::load(
      std::make_shared<const Checkpoint>(Checkpoint::open(directory.path().string())), at::kCPU,
      precision);
}

const std::vector<ReplayRequest> kOneKnockout = {{{1, 2, 3}, 4, {{{2}, {0, 1}, {}, {{0, 3}}}}}};

TEST(Answers, AHeadOfZerosMakesEveryTokenAsLikely) {
  for (const Precision precision : {Precision::kFp32, Precision::kFp64}) {
    const auto network = network_with_head(0, -1, precision);
    const ReplayResult result = ReplayEngine(*network).run(kOneKnockout)[0];
    for (const Answer& answer : {result.clean, result.knockouts[0][0]}) {
      EXPECT_EQ(answer.rank, network->architecture().vocabulary);
      EXPECT_EQ(answer.tied, network->architecture().vocabulary - 1);
    }
  }
}

// One of the two signs makes the logit of another token than the answer -inf, and nothing else.
TEST(Answers, TheEngineHasNoAnswerWhereALogitOverflows) {
  for (const double value : {3e38, -3e38}) {
    const auto network = network_with_head(value, 9, Precision::kFp32);
    const ReplayResult result = ReplayEngine(*network).run(kOneKnockout)[0];
    for (const Answer& answer : {result.clean, result.knockouts[0][0]}) {
      EXPECT_EQ(answer.rank, kNoRank) << value;
      EXPECT_TRUE(std::isnan(answer.log_probability)) << value;
    }
  }
}

}  // namespace
}  // namespace factflow
