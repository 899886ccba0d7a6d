// The check that every run makes of itself finds what is wrong with a kernel, and nothing else.
#include "model/replay/self_check.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "faulty_kernels.hpp"
#include "intervention_requests.hpp"
#include "model/threads.hpp"
#include "random_checkpoint.hpp"

namespace factflow {
namespace {

ReplayRequest sweep(int layers) {
  ReplayRequest request{{3, 1, 4, 1, 5, 9, 2, 6}, 7};
  std::vector<Window> windows;
  for (int start = 0; start + 2 <= layers; ++start) windows.push_back({start, start + 2});
  request.series = {
      {{7}, {1, 2}, {}, windows}, {{7}, {0}, {}, windows}, {{2, 7}, {1}, {}, windows}};
  return request;
}

class SelfChecked : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { set_threads(1, 1); }
  static SelfCheck check(const ReplayRequest& request, Precision precision) {
    const auto network = Network::load(random_checkpoint(GetParam(), 11), at::kCPU, precision);
    ReplayEngine engine(*network);
    return check_against_reference(engine, *network, request);
  }
};

TEST_P(SelfChecked, ASweepPasses) {
  const SelfCheck check = this->check(sweep(3), Precision::kFp64);
  EXPECT_TRUE(check.passed()) << check.in_words();
  EXPECT_EQ(check.runs, self_check_runs(sweep(3)));
  EXPECT_EQ(check.runs, 1 + 4 + 2);  // the clean run; edges into one token; into several
  EXPECT_LT(check.largest, 1e-9);
  EXPECT_TRUE(this->check(sweep(3), Precision::kFp32).passed());
}

TEST_P(SelfChecked, EveryKindOfInterventionPasses) {
  const auto network = Network::load(random_checkpoint(GetParam(), 11), at::kCPU, Precision::kFp64);
  ReplayEngine engine(*network);
  for (const ReplayRequest& request : intervention_requests(network->architecture())) {
    if (request.ids.size() > 12) continue;  // some of these models have learned positions
    const SelfCheck check = check_against_reference(engine, *network, request);
    EXPECT_TRUE(check.passed()) << check.in_words();
    EXPECT_GT(check.runs, 20);
  }
}

// A prompt with so many replays of its last token that the fault shows.
TEST(SelfCheck, FindsTheFaultThatMamba2HadOnAGpu) {
  set_threads(1, 1);
  nlohmann::json config = small_config("mamba2");
  config.update({{"hidden_size", 64},
                 {"state_size", 16},
                 {"num_heads", 4},
                 {"head_dim", 32},
                 {"n_groups", 1},
                 {"num_hidden_layers", 6}});
  const TemporaryDirectory directory;
  write_checkpoint(directory.path(), config, random_tensors(config, 5));
  const auto network =
      Network::load(std::make_shared<const Checkpoint>(Checkpoint::open(directory.path().string())),
                    at::kCPU, Precision::kFp32);
  ReplayRequest request{{3, 1, 4, 1, 5, 9, 2, 6}, 7};
  std::vector<Window> windows;
  for (int begin = 0; begin < 6; ++begin)
    for (int end = begin + 1; end <= 6; ++end) windows.push_back({begin, end});
  for (int source = 0; source < 7; ++source) request.series.push_back({{7}, {source}, {}, windows});
  const auto check = [&] {
    ReplayEngine engine(*network);
    return check_against_reference(engine, *network, request);
  };
  EXPECT_TRUE(check().passed()) << check().in_words();
  const kernels::KernelTable<float> faulty = kernels_with_faulty_dual();
  kernels::replace_cpu_kernels(&faulty);
  const SelfCheck found = check();
  kernels::replace_cpu_kernels(nullptr);
  EXPECT_FALSE(found.passed()) << found.in_words();
}

// Weights of which the numbers overflow: the prompt has failed, but the engine is right about it.
TEST_P(SelfChecked, NumbersThatOverflowInBothAreNoDifference) {
  const TemporaryDirectory folder;
  const nlohmann::json config = small_config(GetParam());
  std::map<std::string, NamedTensor> tensors = random_tensors(config, 11);
  for (auto& [name, tensor] : tensors)
    for (float& value : tensor.values) value = value < 0 ? -1e30F : 1e30F;
  write_checkpoint(folder.path(), config, tensors);
  const auto checkpoint = std::make_shared<const Checkpoint>(Checkpoint::open(folder.path()));
  const auto network = Network::load(checkpoint, at::kCPU, Precision::kFp32);
  ReplayEngine engine(*network);
  const SelfCheck check = check_against_reference(engine, *network, sweep(3));
  EXPECT_TRUE(check.passed()) << check.in_words();
  // Where a norm divides by what has overflowed, zeros are left of it, and numbers follow.
  const bool recovers = GetParam() == "gemma2" || GetParam() == "phi3";
  EXPECT_EQ(check.runs > 0, recovers);
}

INSTANTIATE_TEST_SUITE_P(Families, SelfChecked,
                         testing::Values("gpt2", "llama", "gpt_neox", "mamba", "falcon_mamba",
                                         "mamba2"),
                         [](const auto& test) { return test.param; });
INSTANTIATE_TEST_SUITE_P(Decoders, SelfChecked, testing::ValuesIn(small_decoders()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace factflow
