// Which rank gets which GPU, with GPUs that are not there.
#include "workers/device_choice.hpp"

#include <gmock/gmock.h>

#include "base/error.hpp"

namespace factflow {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> assigned(const std::vector<Outlook>& ranks, bool share = false,
                                  const std::string& device = "auto") {
  std::vector<std::string> devices;
  for (int rank = 0; rank < static_cast<int>(ranks.size()); ++rank)
    devices.push_back(assign_device(device, share, ranks, rank));
  return devices;
}

std::string refusal(const std::vector<Outlook>& ranks) {
  try {
    assigned(ranks);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(DeviceChoice, RanksThatSeeAllGpusTakeThemInOrder) {
  const Outlook one{"n1", {"A", "B", "C", "D"}}, other{"n2", {"E", "F", "G", "H"}};
  EXPECT_THAT(assigned({one, one, one, other, other}),
              ElementsAre("cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:1"));
}

TEST(DeviceChoice, BoundRanksTakeTheOneTheySee) {
  // srun --gpus-per-task=1, or --gpu-bind=single:1: for each task its own GPU is number 0.
  EXPECT_THAT(assigned({{"n1", {"A"}}, {"n1", {"B"}}, {"n1", {"C"}}}),
              ElementsAre("cuda:0", "cuda:0", "cuda:0"));
}

TEST(DeviceChoice, ListsThatOverlapAreDisentangled) {
  // Taking the first of each list would leave nothing for the last rank.
  EXPECT_THAT(assigned({{"n1", {"A", "B"}}, {"n1", {"B", "C"}}, {"n1", {"A"}}}),
              ElementsAre("cuda:1", "cuda:1", "cuda:0"));
  // CUDA_VISIBLE_DEVICES=1,0 for the second rank: the same GPUs under other numbers.
  EXPECT_THAT(assigned({{"n1", {"A", "B"}}, {"n1", {"B", "A"}}}), ElementsAre("cuda:0", "cuda:0"));
}

TEST(DeviceChoice, MoreRanksThanGpusIsAnErrorThatSaysWhatToChange) {
  const Outlook node{"n1", {"A", "B"}};
  const std::string message = refusal({node, node, node});
  EXPECT_THAT(message, HasSubstr("3 ranks on n1 and only 2 GPUs"));
  EXPECT_THAT(message, HasSubstr("start 2 ranks there"));
  EXPECT_THAT(message, HasSubstr("share_gpus: true"));
  // Two ranks that are bound to one GPU are too many, though there are others.
  EXPECT_THAT(refusal({{"n1", {"A"}}, {"n1", {"A"}}}), HasSubstr("only 1 GPU that"));
}

TEST(DeviceChoice, RanksShareWhenToldTo) {
  const Outlook node{"n1", {"A", "B"}};
  EXPECT_THAT(assigned({node, node, node, node}, true),
              ElementsAre("cuda:0", "cuda:1", "cuda:0", "cuda:1"));
  EXPECT_THAT(assigned({node, node, node}, false, "cuda:1"),
              ElementsAre("cuda:1", "cuda:1", "cuda:1"));
}

TEST(DeviceChoice, WithoutGpusTheDeviceIsAsConfigured) {
  EXPECT_THAT(assigned({{"n1", {}}, {"n1", {}}}), ElementsAre("auto", "auto"));
  EXPECT_THAT(assigned({{"n1", {"A"}}, {"n1", {"A"}}}, false, "cpu"), ElementsAre("cpu", "cpu"));
}

TEST(DeviceChoice, ARankWithoutAGpuAmongOthersThatHaveOneIsNamed) {
  EXPECT_THAT(refusal({{"n1", {"A"}}, {"n2", {}}}),
              HasSubstr("rank 1 on n2 may use no GPU while others may"));
}

TEST(DeviceChoice, OutlooksSurviveTheJourney) {
  const std::vector<Outlook> back =
      decode_outlooks({encode(Outlook{"n1", {"A", "B"}}), encode(Outlook{"n2", {}})});
  ASSERT_EQ(back.size(), 2U);
  EXPECT_EQ(back[0].host, "n1");
  EXPECT_THAT(back[0].gpus, ElementsAre("A", "B"));
  EXPECT_TRUE(back[1].gpus.empty());
}

}  // namespace
}  // namespace factflow
