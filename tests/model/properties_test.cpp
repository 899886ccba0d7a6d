// What must hold whatever the numbers are: of empty knockouts, of splitting, of sharing, of
// counting.
#include <cmath>
#include <set>
#include <stdexcept>

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "model/families/family.hpp"
#include "model/mixers/attention/rotary_tables.hpp"
#include "model/network.hpp"
#include "model/replay/replay.hpp"
#include "model/threads.hpp"
#include "model/weights.hpp"
#include "random_checkpoint.hpp"

namespace factflow {
namespace {

const std::vector<std::string> kModels = {"gpt2",    "llama", "mamba",   "falcon_mamba",
                                          "mamba2",  "qwen3", "olmo3",   "gemma2",
                                          "granite", "gptj",  "opt_post"};

std::vector<ReplayRequest> some_requests() {
  const std::vector<Window> windows = {{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}};
  const std::vector<Series> cuts = {{{6}, {1, 2}, {}, windows},
                                    {{6}, {6}, {}, windows},
                                    {{2, 3}, {1, 2}, {}, windows},
                                    {{4, 6}, {0, 1, 4}, {}, windows},
                                    {{0, 1, 2, 3, 4, 5, 6}, {0}, {}, windows}};
  std::vector<ReplayRequest> requests;
  for (int i = 0; i < 4; ++i)
    requests.push_back({{1 + i, 5, 9, 2 * i, 7, 28 - i, 3}, 10 + i, cuts});
  return requests;
}

// Largest difference of any log-probability; infinite if a knockout is missing on one side.
double difference(const std::vector<ReplayResult>& a, const std::vector<ReplayResult>& b) {
  if (a.size() != b.size()) return INFINITY;
  double worst = 0;
  const auto compare = [&](const Answer& x, const Answer& y) {
    if ((x.rank == 0) != (y.rank == 0)) worst = INFINITY;
    if (x.rank != 0) worst = std::max(worst, std::abs(x.log_probability - y.log_probability));
  };
  for (size_t r = 0; r < a.size(); ++r) {
    compare(a[r].clean, b[r].clean);
    if (a[r].knockouts.size() != b[r].knockouts.size()) return INFINITY;
    for (size_t c = 0; c < a[r].knockouts.size(); ++c) {
      if (a[r].knockouts[c].size() != b[r].knockouts[c].size()) return INFINITY;
      for (size_t w = 0; w < a[r].knockouts[c].size(); ++w)
        compare(a[r].knockouts[c][w], b[r].knockouts[c][w]);
    }
  }
  return worst;
}

class Properties : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { set_threads(1, 1); }
  std::unique_ptr<Network> fp32_ = random_network(GetParam(), 3, Precision::kFp32);
  std::unique_ptr<Network> fp64_ = random_network(GetParam(), 3, Precision::kFp64);
  static constexpr std::int64_t kAmple = std::int64_t{1} << 30;
};

TEST_P(Properties, AnEmptyWindowIsTheCleanRunBitForBit) {
  ReplayRequest request = some_requests()[0];
  request.series = {{{6}, {1, 2}, {}, {{0, 0}, {2, 2}, {3, 3}, {0, 2}}}};
  const ReplayResult result = ReplayEngine(*fp32_, kAmple).run({{request}})[0];
  for (const size_t empty : {0u, 1u, 2u}) {
    EXPECT_EQ(result.knockouts[0][empty].log_probability, result.clean.log_probability);
    EXPECT_EQ(result.knockouts[0][empty].rank, result.clean.rank);
  }
  EXPECT_NE(result.knockouts[0][3].log_probability, result.clean.log_probability);
}

TEST_P(Properties, WhatBlocksNothingIsRecordedAsNoEdge) {
  ReplayRequest request = some_requests()[0];
  const std::vector<Window> windows = {{0, 2}, {1, 1}};
  request.series = {{{2}, {3, 4, 6}, {}, windows}, {{}, {1}, {}, windows}, {{6}, {}, {}, windows}};
  if (fp32_->architecture().channels() == 0)
    request.series.push_back({{6}, {1}, {ChannelSet::Kind::kSlow}, windows});
  ReplayEngine engine(*fp32_, kAmple);
  const ReplayResult result = engine.run({{request}})[0];
  for (const auto& cut : result.knockouts)
    for (const Answer& answer : cut) {
      EXPECT_TRUE(std::isnan(answer.log_probability));
      EXPECT_EQ(answer.rank, 0);
    }
  EXPECT_EQ(engine.cost().knockouts, 0);
  request.series.clear();
  EXPECT_EQ(ReplayEngine(*fp32_, kAmple).run({{request}})[0].clean.log_probability,
            result.clean.log_probability);
}

TEST_P(Properties, AntiCausalPairsBlockNothing) {
  ReplayRequest plain = some_requests()[0], with_future = plain;
  plain.series = {{{3}, {1}, {}, {{0, 3}}}};
  with_future.series = {{{0, 3}, {1, 4, 5}, {}, {{0, 3}}}};
  ReplayEngine engine(*fp32_, kAmple);
  EXPECT_EQ(difference(engine.run({{plain}}), engine.run({{with_future}})), 0);
}

TEST_P(Properties, PassesSplitByMemoryAgreeWithTheWholeRun) {
  const std::vector<ReplayRequest> requests = some_requests();
  ReplayEngine whole(*fp64_, kAmple);
  const std::vector<ReplayResult> expected = whole.run(requests);
  ASSERT_EQ(whole.cost().passes.size(), 1u);
  for (const int lanes : {1, 2}) {
    std::set<size_t> passes;
    std::int64_t limit = kAmple;
    for (bool fits = true; fits; limit = limit / 5 * 4) {
      ReplayEngine engine(*fp64_, limit, 0, lanes);
      try {
        // A float32 rounding of fp64 may fall on the other side of a tie when a product is split.
        ASSERT_LT(difference(engine.run(requests), expected), 1e-9) << limit << " bytes";
        EXPECT_EQ(engine.cost().knockouts, whole.cost().knockouts);
        passes.insert(engine.cost().passes.size());
      } catch (const MemoryError& error) {
        EXPECT_NE(std::string(error.what()).find("one prompt of 7 tokens needs "),
                  std::string::npos)
            << error.what();
        fits = false;
      }
    }
    EXPECT_GE(passes.size(), 3u);
    EXPECT_GT(*passes.rbegin(), requests.size());  // over starts as well
  }
}

TEST_P(Properties, OnePromptThatDoesNotFitIsAMemoryError) {
  ReplayRequest request = some_requests()[0];
  request.series.resize(1);
  request.series[0].windows = std::vector<Window>{{0, 1}, {0, 2}};
  EXPECT_THROW(ReplayEngine(*fp32_, 1000).run({{request}}), MemoryError);
  request.series.clear();
  EXPECT_THROW(ReplayEngine(*fp32_, 1000).run({{request}}), MemoryError);
}

TEST_P(Properties, WindowsOfOneStartGiveWhatEachGivesAlone) {
  const std::vector<ReplayRequest> together = some_requests();
  const std::vector<ReplayResult> shared = ReplayEngine(*fp64_, kAmple).run(together);
  for (size_t w = 0; w < together[0].series[0].runs(); ++w) {
    std::vector<ReplayRequest> alone = together;
    std::vector<ReplayResult> expected = shared;
    for (size_t r = 0; r < alone.size(); ++r)
      for (size_t c = 0; c < alone[r].series.size(); ++c) {
        alone[r].series[c].windows = std::vector<Window>{(*together[r].series[c].windows)[w]};
        expected[r].knockouts[c] = {shared[r].knockouts[c][w]};
      }
    EXPECT_LT(difference(ReplayEngine(*fp64_, kAmple).run(alone), expected), 1e-9);
  }
}

TEST_P(Properties, CutsThatAreEqualInEffectAreComputedOnce) {
  std::vector<ReplayRequest> requests = some_requests();
  ReplayEngine engine(*fp32_, kAmple);
  engine.run(requests);
  const std::int64_t once = engine.cost().column_layers;
  for (ReplayRequest& request : requests) {
    const std::vector<Series> cuts = request.series;
    request.series.insert(request.series.end(), cuts.begin(), cuts.end());
  }
  engine.reset_cost();
  const std::vector<ReplayResult> results = engine.run(requests);
  EXPECT_EQ(engine.cost().column_layers, once);
  for (const ReplayResult& result : results)
    for (size_t c = 0; c < 5; ++c)
      for (size_t w = 0; w < result.knockouts[c].size(); ++w)
        EXPECT_EQ(result.knockouts[c][w].log_probability,
                  result.knockouts[c + 5][w].log_probability);
}

TEST_P(Properties, TheNumberOfThreadsDoesNotMatter) {
  const std::vector<ReplayRequest> requests = some_requests();
  const std::vector<ReplayResult> one32 = ReplayEngine(*fp32_, kAmple).run(requests),
                                  one64 = ReplayEngine(*fp64_, kAmple).run(requests);
  // Once more: the same bits.
  EXPECT_EQ(difference(ReplayEngine(*fp32_, kAmple).run(requests), one32), 0);
  set_threads(3, 1);
  EXPECT_LT(difference(ReplayEngine(*fp32_, kAmple).run(requests), one32), 1e-4);
  EXPECT_LT(difference(ReplayEngine(*fp64_, kAmple).run(requests), one64), 1e-9);
}

TEST_P(Properties, TheLikeliestTokensAreInOrderAndSumUp) {
  const std::vector<ReplayRequest> requests = some_requests();
  const std::vector<ReplayResult> results =
      ReplayEngine(*fp32_, kAmple).run(requests, 1000);  // more than there are
  for (const ReplayResult& result : results) {
    ASSERT_EQ(result.top.size(), static_cast<size_t>(fp32_->architecture().vocabulary));
    double sum = 0;
    for (size_t i = 0; i < result.top.size(); ++i) {
      sum += result.top[i].probability;
      EXPECT_LE(result.top[i].probability, i > 0 ? result.top[i - 1].probability : 1.0);
    }
    EXPECT_NEAR(sum, 1, 1e-9);
  }
  const TopToken& answer = results[0].top[static_cast<size_t>(results[0].clean.rank - 1)];
  EXPECT_EQ(answer.token, requests[0].answer);
  EXPECT_NEAR(std::log(answer.probability), results[0].clean.log_probability, 1e-5);
}

TEST_P(Properties, ImpossibleTokensAreRefused) {
  ReplayEngine engine(*fp32_, kAmple);
  const int vocabulary = fp32_->architecture().vocabulary;
  for (const ReplayRequest& request :
       {ReplayRequest{{1, vocabulary}, 0, {}}, ReplayRequest{{1, -1}, 0, {}},
        ReplayRequest{{1, 2}, vocabulary, {}}, ReplayRequest{{1, 2}, -1, {}},
        ReplayRequest{{}, 0, {}}})
    EXPECT_THROW(engine.run({{request}}), std::invalid_argument);
  if (const std::int64_t most = fp32_->architecture().max_positions; most > 0) {
    const std::vector<int> beyond(static_cast<size_t>(most) + 1, 1);
    EXPECT_THROW(engine.run({{ReplayRequest{beyond, 0, {}}}}), std::invalid_argument);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Properties, testing::ValuesIn(kModels),
                         [](const auto& test) { return test.param; });

// A mixer that blocks nothing, and whose layers pass everything on.
struct ForgetfulShape final : MixerShape {
  std::string name() const override { return "forgetful"; }
  std::string in_words() const override { return "nothing"; }
  std::string edges_in_words() const override { return "none that are blocked"; }
  std::vector<ColumnBuffer> buffers(Precision) const override { return {}; }
  std::vector<Site> sites() const override { return {Site::kO}; }
  void check_block(const Block&) const override {}
};

class ForgetfulMixer final : public Mixer {
 public:
  explicit ForgetfulMixer(int hidden)
      : Mixer({Projection(at::zeros({hidden, hidden}), Precision::kFp32)}) {}
  at::Tensor losing_state(const Block&, at::Device) const override {
    return at::ones({1}, at::kBool);
  }
  const ForgetfulShape& shape() const override { return shape_; }
  Factor mix(Step&, const Factor& input) const override { return input; }
  at::Tensor reference_mix(ReferencePass&, int, const at::Tensor& x) const override { return x; }
  std::vector<LayerProduct> products() const override { return {}; }

 private:
  ForgetfulShape shape_;
};

TEST(BlockedEdges, AnInterventionThatDoesNotFireIsAnError) {
  const auto checkpoint = random_checkpoint("gpt2", 3);
  Architecture architecture = read_architecture(checkpoint->config(), "config.json");
  Weights weights(checkpoint, family_named("gpt2").tensors(architecture), at::kCPU,
                  Precision::kFp32);
  NetworkParts parts = family_named("gpt2").parts(architecture, weights);
  for (std::vector<NetworkBlock>& layer : parts.layers) {
    layer.resize(1);
    layer[0].mixer = std::make_unique<ForgetfulMixer>(architecture.hidden);
  }
  architecture.blocks.assign(parts.layers.size(), {{std::make_shared<ForgetfulShape>()}});
  const Network network(architecture, weights, std::move(parts));
  ReplayEngine engine(network, std::int64_t{1} << 30);
  ReplayRequest request{{1, 2, 3}, 0, {{{2}, {0, 1}, {}, {{0, 2}}}}};
  try {
    engine.run({{request}});
    FAIL() << "nothing was blocked and nobody noticed";
  } catch (const std::logic_error& error) {
    EXPECT_STREQ(error.what(), "the kernels blocked 0 edges, the plan expects 4");
  }
  auto& block = std::get<Block>(request.series[0].interventions[0]);
  block.targets = {0};
  block.sources = {1};
  EXPECT_NO_THROW(engine.run({{request}}));
}

// A pass in another stream may still read the tables that it was given.
TEST(RotaryTables, ThoseThatWereHandedOutOutliveGrowth) {
  RotaryTables tables({.dimensions = 4, .theta = 4}, at::TensorOptions().dtype(at::kFloat));
  using Storage = c10::weak_intrusive_ptr<c10::StorageImpl>;
  std::vector<Storage> handed_out;
  for (const std::int32_t positions : {5, 100, 1000}) {
    const Rotations found = tables.up_to(positions);
    EXPECT_GE(found.cosine.size(0), positions);
    EXPECT_FLOAT_EQ(found.sine[4][1].item<float>(), std::sin(2.0F));
    for (const at::Tensor& table : {found.cosine, found.sine})
      handed_out.emplace_back(table.storage().getWeakStorageImpl());
  }
  for (const Storage& storage : handed_out) EXPECT_FALSE(storage.expired());
}

}  // namespace
}  // namespace factflow
