// Interventions and reads through the replay engine: against the float64 oracle's answers
// (tests/oracle/README.md, "Sites"), and against what must hold of any model.
#include <cmath>
#include <filesystem>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/oracle_cases.hpp"
#include "model/reference/reference.hpp"
#include "model/replay/replay.hpp"
#include "model/threads.hpp"
#include "tests/source_dir.hpp"

namespace factflow {
namespace {

const std::filesystem::path kSites =
    std::filesystem::path(source_dir()) / "tests" / "oracle" / "cases_sites";

std::vector<int> up_to(int count) {
  std::vector<int> numbers(static_cast<size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

class SiteEngine : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { set_threads(1, 1); }
  static std::unique_ptr<Network> load(Precision precision) {
    const std::filesystem::path directory = kSites / GetParam();
    return Network::load(std::make_shared<const Checkpoint>(Checkpoint::open(directory.string())),
                         at::kCPU, precision);
  }
  static std::vector<OracleCase> cases(const Network& network) {
    return read_oracle_cases(kSites / GetParam() / "site_cases.json",
                             network.architecture().vocabulary);
  }
};

struct Worst {
  double probability = 0, read = 0;
};

Worst errors_of(const Network& network, const std::vector<OracleCase>& cases,
                std::int64_t memory_limit = 0) {
  std::vector<ReplayRequest> requests;
  for (const OracleCase& one : cases) requests.push_back(one.request);
  const std::vector<ReplayResult> results = ReplayEngine(network, memory_limit).run(requests);
  Worst worst;
  for (size_t i = 0; i < cases.size(); ++i) {
    const auto compare = [&](double probability, double expected) {
      worst.probability = std::max(worst.probability, oracle_error(probability, expected));
    };
    compare(std::exp(results[i].clean.log_probability), cases[i].clean);
    for (size_t k = 0; k < cases[i].probabilities.size(); ++k)
      compare(probability_of(results[i], k), cases[i].probabilities[k]);
    for (size_t k = 0; k < cases[i].reads.size(); ++k)
      worst.read = std::max(worst.read, read_error(results[i].reads[k].value(), cases[i].reads[k]));
  }
  return worst;
}

TEST_P(SiteEngine, AgreesWithTheOracleInFp64) {
  const auto network = load(Precision::kFp64);
  const Worst worst = errors_of(*network, cases(*network));
  std::cout << "| " << GetParam() << " | " << worst.probability << " | " << worst.read << " |\n";
  EXPECT_LE(worst.probability, 1e-9);
  EXPECT_LE(worst.read, 1e-9);
}

TEST_P(SiteEngine, AgreesWithTheOracleInFp32) {
  const auto network = load(Precision::kFp32);
  const Worst worst = errors_of(*network, cases(*network));
  std::cout << "| " << GetParam() << " | " << worst.probability << " | " << worst.read << " |\n";
  const OracleTolerance limit =
      oracle_tolerance(network->architecture().family, Precision::kFp32, OracleKind::kAtSites);
  EXPECT_LE(worst.probability, limit.value);
  EXPECT_LE(worst.read, limit.reads);
}

// Runs of one prompt in several passes: what they lend each other goes along.
TEST_P(SiteEngine, PassesMayBeSplitAnywhere) {
  const auto network = load(Precision::kFp64);
  std::vector<OracleCase> all = cases(*network);
  const Worst worst = errors_of(*network, all, std::int64_t{3} << 20);
  EXPECT_LE(worst.probability, 1e-9);
  EXPECT_LE(worst.read, 1e-9);
}

double log_probability(const Network& network, const std::vector<int>& ids, int answer,
                       std::vector<Intervention> together) {
  ReplayRequest request{ids, answer, {{std::move(together), std::nullopt}}};
  return ReplayEngine(network).run({&request, 1})[0].knockouts[0][0].log_probability;
}

// With every edge to it cut, through all that mixes tokens, the last token is alone.
TEST_P(SiteEngine, MixerBlockedLeavesTheTokenAlone) {
  const auto network = load(Precision::kFp64);
  const std::vector<int> ids = cases(*network)[1].request.ids;
  const int last = static_cast<int>(ids.size()) - 1;
  Block block;
  block.through = Block::Through::kMixer;
  block.layers = up_to(network->architecture().layers);
  block.sources = up_to(last);
  block.targets = {last};
  // Alone at its position: with a learned position, the embedding is what the long prompt has.
  ReplayRequest read{ids, 0, {}, {{{Site::kH, 0}, last, std::nullopt}}};
  const at::Tensor h = ReplayEngine(*network).run({&read, 1})[0].reads[0].value().contiguous();
  Write at_its_position;
  at_its_position.layers = at_its_position.tokens = {0};
  at_its_position.value = Vector{{h.data_ptr<double>(), h.data_ptr<double>() + h.numel()}};
  for (const int answer : {0, 5, 17})
    EXPECT_NEAR(log_probability(*network, ids, answer, {block}),
                log_probability(*network, {ids.back()}, answer, {at_its_position}), 1e-12);
}

TEST_P(SiteEngine, APatchOfARunByItselfChangesNothing) {
  const auto network = load(Precision::kFp64);
  const std::vector<int> ids = cases(*network)[1].request.ids;
  ReplayRequest clean{ids, 3};
  const double expected = ReplayEngine(*network).run({&clean, 1})[0].clean.log_probability;
  for (const Site site : network->architecture().sites()) {
    Write write;
    write.site = site;
    write.layers = {site == Site::kNorm ? network->architecture().layers : 1};
    write.tokens = {0, 2, static_cast<int>(ids.size()) - 1};
    write.value = OtherRun{ids, write.tokens};
    EXPECT_NEAR(log_probability(*network, ids, 3, {write}), expected, 1e-12) << to_string(site);
  }
}

TEST_P(SiteEngine, TheStreamOfAnotherRunAtEveryTokenIsThatRun) {
  const auto network = load(Precision::kFp64);
  const std::vector<int> ids = cases(*network)[1].request.ids;
  std::vector<int> other = ids;
  for (int& id : other) id = (id + 1) % network->architecture().vocabulary;
  ReplayRequest clean{other, 3};
  const double expected = ReplayEngine(*network).run({&clean, 1})[0].clean.log_probability;
  Write write;
  write.tokens = up_to(static_cast<int>(ids.size()));
  write.value = OtherRun{other, write.tokens};
  for (int layer = 0; layer <= network->architecture().layers; ++layer) {
    write.layers = {layer};
    EXPECT_NEAR(log_probability(*network, ids, 3, {write}), expected, 1e-12) << layer;
  }
}

// Windows branch and share as those of knockouts do.
TEST_P(SiteEngine, EveryWindowOfEveryKindAgreesWithTheReference) {
  const auto network = load(Precision::kFp64);
  const ReferenceForward reference(*network);
  const std::vector<OracleCase> all = cases(*network);
  const std::vector<int> ids = all[1].request.ids, other = all[2].request.ids;
  const int last = static_cast<int>(ids.size()) - 1, layers = network->architecture().layers;
  std::vector<Window> windows;
  for (int begin = 0; begin < layers; ++begin)
    for (int end = begin + 1; end <= layers; ++end) windows.push_back({begin, end});
  ReplayRequest request{ids, all[1].request.answer};
  for (const Site site : network->architecture().sites()) {
    if (site == Site::kNorm) continue;
    Write write;
    write.site = site;
    write.tokens = {1, last};
    write.value = OtherRun{other, {2, 0}};
    request.series.push_back({{write}, windows});
    write.value = MeanOfRuns{{other, ids}};
    write.channels = {3, 0};
    request.series.push_back({{write}, windows});
  }
  Block block;
  block.targets = {2, last};
  block.sources = {1, 2};
  for (const auto through :
       {Block::Through::kState, Block::Through::kConvolution, Block::Through::kMixer}) {
    if (network->architecture().taps() == 0 && through == Block::Through::kConvolution) continue;
    block.through = through;
    request.series.push_back({{block}, windows});
    Block second = block;
    second.targets = {last};
    second.sources = {0};
    request.series.push_back({{block, second}, windows});
  }
  const ReplayResult result = ReplayEngine(*network).run({&request, 1})[0];
  for (size_t s = 0; s < request.series.size(); ++s)
    for (size_t w = 0; w < windows.size(); ++w) {
      const at::Tensor expected = reference.log_probabilities(ids, request.series[s].run(w));
      EXPECT_NEAR(result.knockouts[s][w].log_probability, expected[request.answer].item<double>(),
                  1e-9)
          << "series " << s << ", layers " << windows[w].begin << " to " << windows[w].end;
    }
}

TEST_P(SiteEngine, WhatIsNotThereIsRefused) {
  const auto network = load(Precision::kFp64);
  const auto refused = [&](Intervention intervention, const char* words) {
    EXPECT_THAT(
        [&] {
          log_probability(*network, {1, 2, 3}, 0, {intervention});
        },
        testing::ThrowsMessage<std::invalid_argument>(testing::HasSubstr(words)));
  };
  Write write;
  write.layers = write.tokens = {0};
  write.channels = {1 << 20};
  refused(write, "channel 1048576 of site h");
  write.channels.reset();
  write.value = Vector{{1, 2}};
  refused(write, "a vector of 2 numbers");
  write.value = OtherRun{{1, 2}, {0, 1}};
  refused(write, "2 tokens of another run for 1");
  write.value = OtherRun{{1, 2}, {2}};
  refused(write, "outside the prompt's 2 tokens");
  write.value = OtherRun{{1 << 20}, {0}};
  refused(write, "outside the vocabulary");
  write.value = MeanOfRuns{};
  refused(write, "a mean of no runs");
  write.value = Zero{};
  write.tokens = {3};
  refused(write, "outside the prompt's 3 tokens");
  write.tokens = {0};
  write.site = Site::kNorm;
  refused(write, "site norm has layers");
  write.site = network->architecture().taps() > 0 ? Site::kMlp : Site::kConv;
  refused(write, "has no site");
  Block block;
  block.targets = block.sources = {0};
  block.layers = {network->architecture().layers};
  refused(block, "layer ");
}

INSTANTIATE_TEST_SUITE_P(Cases, SiteEngine,
                         testing::Values("gpt2", "gpt_neox", "llama", "mistral", "qwen2", "mamba",
                                         "falcon_mamba", "mamba2", "mamba2_groups"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace factflow
