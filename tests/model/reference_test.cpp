// The reference forward against the float64 oracle's answers about knockouts and about
// interventions at sites (tests/oracle/README.md), and against what must hold of any model.
#include "model/reference/reference.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/csrc/autograd/autograd.h>

#include "model/oracle_cases.hpp"
#include "model/oracle_interventions.hpp"
#include "model/threads.hpp"
#include "tests/source_dir.hpp"

namespace factflow {
namespace {

const std::filesystem::path kOracle = std::filesystem::path(source_dir()) / "tests" / "oracle";

std::unique_ptr<Network> load(const std::filesystem::path& directory, Precision precision) {
  return Network::load(std::make_shared<const Checkpoint>(Checkpoint::open(directory.string())),
                       at::kCPU, precision);
}

double probability(const at::Tensor& log_probabilities, int token) {
  return std::exp(log_probabilities[token].item<double>());
}

struct Worst {
  double probability = 0, read = 0;
};

Worst errors_of(const Network& network, const std::vector<OracleCase>& cases) {
  const ReferenceForward reference(network);
  Worst worst;
  for (const OracleCase& one : cases) {
    const auto compare = [&](std::span<const Intervention> interventions, double expected) {
      const at::Tensor log = reference.log_probabilities(one.request.ids, interventions);
      worst.probability =
          std::max(worst.probability, oracle_error(probability(log, one.request.answer), expected));
    };
    compare({}, one.clean);
    for (size_t i = 0; i < one.probabilities.size(); ++i)
      compare(one.request.series[i].run(0), one.probabilities[i]);
    for (size_t i = 0; i < one.reads.size(); ++i) {
      const ReadAt& read = one.request.reads[i];
      const std::vector<Intervention> under =
          read.under ? one.request.series[read.under->series].run(0) : std::vector<Intervention>();
      const SiteAt reads[] = {read.at};
      const at::Tensor value =
          reference.run(one.request.ids, under, reads).values.at(read.at)[read.token];
      worst.read = std::max(worst.read, read_error(value, one.reads[i]));
    }
  }
  return worst;
}

class SiteOracle : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { set_threads(1, 1); }
  static std::filesystem::path directory() { return kOracle / "cases_sites" / GetParam(); }
  static std::vector<OracleCase> cases(const Network& network) {
    return read_oracle_cases(directory() / "site_cases.json", network.architecture().vocabulary);
  }
};

TEST_P(SiteOracle, ReferenceInFp64) {
  const auto network = load(directory(), Precision::kFp64);
  const Worst worst = errors_of(*network, cases(*network));
  std::cout << "| " << GetParam() << " | " << worst.probability << " | " << worst.read << " |\n";
  EXPECT_LE(worst.probability, 1e-10);
  EXPECT_LE(worst.read, 1e-10);
}

// Float32 rounds as the oracle's own program does in float32: three times its floor over these
// cases (tests/oracle/README.md), and never less than 1e-4. How much it rounds depends on the
// processor: OpenBLAS adds in another order on each kind.
TEST_P(SiteOracle, ReferenceInFp32) {
  const std::map<std::string, double> floors = {
      {"falcon_mamba", 95e-6},  {"gpt2", 6.3e-6},    {"gpt_neox", 1.6e-6},
      {"llama", 5.2e-6},        {"mamba", 1060e-6},  {"mamba2", 26e-6},
      {"mamba2_groups", 77e-6}, {"mistral", 6.2e-6}, {"qwen2", 14e-6}};
  const auto network = load(directory(), Precision::kFp32);
  const Worst worst = errors_of(*network, cases(*network));
  std::cout << "| " << GetParam() << " | " << worst.probability << " | " << worst.read << " |\n";
  EXPECT_LE(worst.probability, std::max(1e-4, 3 * floors.at(GetParam())));
  const OracleTolerance tolerance =
      oracle_tolerance(network->architecture().family, Precision::kFp32, OracleKind::kAtSites);
  EXPECT_LE(worst.read, tolerance.reads);
}

// With every edge to it cut, through all that mixes tokens, the last token is alone.
TEST_P(SiteOracle, MixerBlockedLeavesTheTokenAlone) {
  const auto network = load(directory(), Precision::kFp64);
  const ReferenceForward reference(*network);
  const std::vector<int> ids = cases(*network)[1].request.ids;
  const int last = static_cast<int>(ids.size()) - 1, layers = network->architecture().layers;
  Block block;
  block.through = Block::Through::kMixer;
  block.layers.resize(static_cast<size_t>(layers));
  std::iota(block.layers.begin(), block.layers.end(), 0);
  block.sources.resize(static_cast<size_t>(last));
  std::iota(block.sources.begin(), block.sources.end(), 0);
  block.targets = {last};
  // Alone at its position: with a learned position, the embedding is what the long prompt has.
  const SiteAt embedding[] = {{Site::kH, 0}};
  const at::Tensor h =
      reference.run(ids, {}, embedding).values.at({Site::kH, 0})[last].contiguous();
  Write at_its_position;
  at_its_position.layers = at_its_position.tokens = {0};
  at_its_position.value = Vector{{h.data_ptr<double>(), h.data_ptr<double>() + h.numel()}};
  const Intervention blocked[] = {block}, alone[] = {at_its_position};
  const at::Tensor cut = reference.log_probabilities(ids, blocked),
                   one = reference.log_probabilities({ids.back()}, alone);
  EXPECT_LE((cut - one).abs().max().item<double>(), 1e-12);
}

TEST_P(SiteOracle, APatchOfARunByItselfChangesNoBit) {
  const auto network = load(directory(), Precision::kFp64);
  const ReferenceForward reference(*network);
  const std::vector<int> ids = cases(*network)[1].request.ids;
  const at::Tensor clean = reference.log_probabilities(ids);
  for (const Site site : network->architecture().sites()) {
    Write write;
    write.site = site;
    write.layers = {site == Site::kNorm ? network->architecture().layers : 1};
    write.tokens = {0, 2, static_cast<int>(ids.size()) - 1};
    write.value = OtherRun{ids, write.tokens};
    const Intervention patch[] = {write};
    EXPECT_TRUE(at::equal(reference.log_probabilities(ids, patch), clean)) << to_string(site);
  }
}

TEST_P(SiteOracle, TheStreamOfAnotherRunAtEveryTokenIsThatRun) {
  const auto network = load(directory(), Precision::kFp64);
  const ReferenceForward reference(*network);
  const std::vector<int> ids = cases(*network)[1].request.ids;
  std::vector<int> other = ids;
  for (int& id : other) id = (id + 1) % network->architecture().vocabulary;
  Write write;
  write.layers = {1};
  write.tokens.resize(ids.size());
  std::iota(write.tokens.begin(), write.tokens.end(), 0);
  write.value = OtherRun{other, write.tokens};
  const Intervention patch[] = {write};
  EXPECT_TRUE(
      at::equal(reference.log_probabilities(ids, patch), reference.log_probabilities(other)));
}

// d log p / d (the stream at a token), against a central difference.
TEST_P(SiteOracle, GradientIsTheDifferenceQuotient) {
  const auto network = load(directory(), Precision::kFp64);
  const ReferenceForward reference(*network);
  const OracleCase one = cases(*network)[0];
  const SiteAt reads[] = {{Site::kH, 1}};
  const ReferenceForward::Result run = reference.run(one.request.ids, {}, reads);
  const at::Tensor h = run.values.at(reads[0]), logits = run.logits[run.logits.size(0) - 1];
  const at::Tensor gradient =
      torch::autograd::grad({logits.log_softmax(0)[one.request.answer]}, {h})[0][1];
  const at::Tensor direction = at::sin(at::arange(h.size(1), at::kDouble));
  const double step = 1e-5 * (h[1].norm() / direction.norm()).item<double>();
  const auto moved = [&](double scale) {
    Write write;
    write.layers = write.tokens = {1};
    const auto* data = direction.data_ptr<double>();
    write.value = Vector{{data, data + direction.numel()}};
    write.add = true;
    write.scale = scale;
    const Intervention list[] = {write};
    return reference.log_probabilities(one.request.ids, list)[one.request.answer].item<double>();
  };
  const double quotient = (moved(step) - moved(-step)) / (2 * step);
  EXPECT_NEAR((gradient * direction).sum().item<double>(), quotient,
              1e-6 * std::max(1e-3, std::abs(quotient)));
}

INSTANTIATE_TEST_SUITE_P(Cases, SiteOracle,
                         testing::Values("gpt2", "gpt_neox", "llama", "mistral", "qwen2", "mamba",
                                         "falcon_mamba", "mamba2", "mamba2_groups"),
                         [](const auto& test) { return test.param; });

class KnockoutOracle : public testing::TestWithParam<std::string> {};

TEST_P(KnockoutOracle, ReferenceInFp64) {
  set_threads(1, 1);
  const std::string answers = GetParam().substr(0, GetParam().find("_original"));
  const auto network = load(kOracle / "cases" / GetParam(), Precision::kFp64);
  const ReferenceForward reference(*network);
  double worst = 0;
  for (const OracleCase& one : read_oracle_cases(kOracle / "cases" / answers / "cases.json",
                                                 network->architecture().vocabulary)) {
    const auto compare = [&](const std::vector<Intervention>& interventions, double expected) {
      const at::Tensor log = reference.log_probabilities(one.request.ids, interventions);
      worst = std::max(worst, oracle_error(probability(log, one.request.answer), expected));
    };
    compare({}, one.clean);
    for (size_t k = 0; k < one.probabilities.size(); ++k)
      compare(one.request.series[k].run(0), one.probabilities[k]);
  }
  EXPECT_LE(worst, 1e-10);
}

INSTANTIATE_TEST_SUITE_P(Cases, KnockoutOracle,
                         testing::Values("gpt2", "gpt_neox", "llama", "llama_tied", "mistral",
                                         "qwen2", "mamba", "mamba_original", "falcon_mamba",
                                         "mamba2", "mamba2_original", "mamba2_groups"),
                         [](const auto& test) { return test.param; });

// What a model or a prompt does not have is refused in words.
TEST(ReferenceForward, RefusesWhatIsNotThere) {
  const auto network = load(kOracle / "cases_sites" / "llama", Precision::kFp64);
  const ReferenceForward reference(*network);
  const auto refused = [&](const char* intervention, const char* words) {
    const Intervention list[] = {parse_intervention(nlohmann::json::parse(intervention))};
    try {
      reference.run({1, 2, 3}, list);
      ADD_FAILURE() << "not refused: " << intervention;
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    }
  };
  refused(
      R"({"do": "set", "site": "conv", "layers": [0], "tokens": [0], "value": {"kind": "zero"}})",
      "llama has no site conv; it has h, s, o");
  refused(
      R"({"do": "set", "site": "norm", "layers": [0], "tokens": [0], "value": {"kind": "zero"}})",
      "site norm has layers");
  refused(R"({"do": "set", "site": "h", "layers": [0], "tokens": [3], "value": {"kind": "zero"}})",
          "token 3 of a prompt of 3");
  refused(
      R"({"do": "set", "site": "h", "layers": [0], "tokens": [0], "channels": [100000], "value": {"kind": "zero"}})",
      "channel 100000 of site h");
  refused(
      R"({"do": "block", "through": "convolution", "layers": [0], "targets": [1], "sources": [0]})",
      "no edges through a convolution");
  refused(R"({"do": "block", "layers": [0], "targets": [1], "sources": [0], "channels": "slow"})",
          "has heads, not channels");
  refused(R"({"do": "block", "layers": [0], "targets": [1], "sources": [0], "heads": [99]})",
          "heads 0 to 3, not 99");
}

TEST(SiteCases, UnknownKeysAreRefused) {
  const auto parse = [](const char* text) { parse_intervention(nlohmann::json::parse(text)); };
  EXPECT_THROW(
      parse(
          R"({"do": "set", "site": "h", "layers": [0], "tokens": [0], "scale": 2, "value": {"kind": "zero"}})"),
      std::invalid_argument);
  EXPECT_THROW(
      parse(R"({"do": "block", "layers": [0], "targets": [0], "sources": [0], "site": "h"})"),
      std::invalid_argument);
  EXPECT_THROW(parse(R"({"do": "move"})"), std::invalid_argument);
}

}  // namespace
}  // namespace factflow
