// A family in one folder, through the whole program: what a new one has to be, and no more.
#include <cmath>
#include <filesystem>

#include <gmock/gmock.h>

#include "model/reference/reference.hpp"
#include "model/replay/replay.hpp"
#include "model/threads.hpp"
#include "results/results_file.hpp"
#include "tests/model/random_checkpoint.hpp"
#include "tests/system/program.hpp"
#include "tests/system/scenario.hpp"

namespace factflow::testing {
namespace {

using ::testing::HasSubstr;

constexpr int kLayers = 3;

// As many words as the demo's tokenizer has.
nlohmann::json toy_config() {
  return {{"model_type", "toy"}, {"width", 16}, {"depth", kLayers},
          {"words", 1024},       {"heads", 4},  {"share", 0.5}};
}

class ToyFamily : public ::testing::Test {
 protected:
  void SetUp() override {
    set_threads(1, 1);
    std::filesystem::create_directories(model());
    write_checkpoint(model(), toy_config(), random_tensors(toy_config(), 7));
    std::filesystem::copy(demo_path("models/gpt2/tokenizer.json"), model() / "tokenizer.json");
  }
  std::filesystem::path model() const { return scratch_ / "toy"; }
  static Ended run(const std::vector<std::string>& arguments) {
    return run_program(arguments, {.program = WITH_TOY_FAMILY});
  }

  TemporaryDirectory scratch_;
};

TEST_F(ToyFamily, TheProgramItselfDoesNotKnowIt) {
  const Ended ended = run_program({"check", "--model", model()});
  EXPECT_EQ(ended.code, 2) << ended.all();
  EXPECT_THAT(ended.err, HasSubstr("unknown model family 'toy'"));
}

TEST_F(ToyFamily, IsChecked) {
  const Ended ended = run({"check", "--model", model()});
  EXPECT_EQ(ended.code, 0) << ended.all();
  EXPECT_THAT(ended.out, HasSubstr("model    toy, 3 layers, hidden 16"));
  EXPECT_THAT(ended.out, HasSubstr("4 heads of 4"));
}

TEST_F(ToyFamily, ASweepRuns) {
  Scenario scenario = tiny();
  scenario.models = {model()};
  scenario.select = "none";
  scenario.windows = "[1, 2]";
  scenario.heatmaps = 0;
  const std::string out = scratch_ / "run";
  const Ended ended = run({"run", scratch_.write("toy.yaml", scenario.yaml()), "--out", out});
  ASSERT_EQ(ended.code, 0) << ended.all();
  const ResultsReader reader(out + "/results.h5");
  EXPECT_TRUE(reader.info().complete);
  ASSERT_EQ(reader.models().size(), 1U);
  EXPECT_EQ(reader.models()[0].family, "toy");
  EXPECT_EQ(reader.models()[0].layer_blocks, std::vector<std::string>(kLayers, "attention"));
}

TEST_F(ToyFamily, TheEngineAgreesWithTheReferenceForward) {
  const auto network =
      Network::load(std::make_shared<const Checkpoint>(Checkpoint::open(model().string())),
                    at::kCPU, Precision::kFp64);
  const ReferenceForward reference(*network);
  const ReplayRequest request{
      {5, 900, 31, 7}, 11, {{{3}, {0, 1}, {}, {{0, 1}, {1, 3}, {0, kLayers}}}}};
  const ReplayResult found = ReplayEngine(*network, 0).run({&request, 1})[0];
  const auto expected = [&](const std::vector<Intervention>& interventions) {
    return reference.log_probabilities(request.ids, interventions)[request.answer].item<double>();
  };
  EXPECT_NEAR(found.clean.log_probability, expected({}), 1e-12);
  for (size_t w = 0; w < request.series[0].runs(); ++w) {
    EXPECT_NEAR(found.knockouts[0][w].log_probability, expected(request.series[0].run(w)), 1e-12);
    EXPECT_GT(std::abs(found.knockouts[0][w].log_probability - found.clean.log_probability), 1e-6);
  }
}

}  // namespace
}  // namespace factflow::testing
