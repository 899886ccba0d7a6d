// The engine, and the naive forward that other tests compare with, against the float64 oracle's
// answers on random checkpoints of every family (tests/oracle/README.md). Tolerances and the
// float32 floors behind them: docs/precision.md.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "model/check_intervention.hpp"
#include "model/oracle_cases.hpp"
#include "model/reference/reference.hpp"
#include "model/threads.hpp"
#include "naive_forward.hpp"
#include "tests/source_dir.hpp"

namespace factflow {
namespace {

const std::filesystem::path kOracle = std::filesystem::path(source_dir()) / "tests" / "oracle";

// Some of the newer families' cases are kept here; all of them may lie beside the project.
std::filesystem::path directory_of(const std::string& name) {
  for (const char* folder : {"cases", "cases_families"})
    if (std::filesystem::exists(kOracle / folder / name)) return kOracle / folder / name;
  return std::filesystem::path(source_dir()).parent_path() / "shared" / "oracle" /
         "cases_families" / name;
}

Checkpoint checkpoint_of(const std::string& name) {
  return Checkpoint::open(directory_of(name).string());
}

std::vector<OracleCase> cases_of(const std::string& name, int vocabulary) {
  return read_oracle_cases(directory_of(name.substr(0, name.find("_original"))) / "cases.json",
                           vocabulary);
}

struct Errors {
  std::string family;
  std::vector<double> all;  // of each case's clean run, then of its knockouts

  double worst() const { return *std::max_element(all.begin(), all.end()); }
  double median() const {
    std::vector<double> sorted = all;
    std::sort(sorted.begin(), sorted.end());
    return sorted[sorted.size() / 2];
  }
};

Errors errors_of(const std::string& name, Precision precision) {
  const auto network =
      Network::load(std::make_shared<const Checkpoint>(checkpoint_of(name)), at::kCPU, precision);
  const std::vector<OracleCase> cases = cases_of(name, network->architecture().vocabulary);
  std::vector<ReplayRequest> requests;
  for (const OracleCase& one : cases) requests.push_back(one.request);
  const std::vector<ReplayResult> results = ReplayEngine(*network, 0).run(requests);
  Errors errors{network->architecture().family, {}};
  for (size_t i = 0; i < cases.size(); ++i) {
    for (size_t k = 0; k < cases[i].edges.size(); ++k) {
      EXPECT_EQ(blocked_edges(network->architecture(), requests[i].series[k].block()),
                cases[i].edges[k]);
      EXPECT_EQ(results[i].knockouts[k][0].blocked_edges, cases[i].edges[k]);
    }
    errors.all.push_back(oracle_error(std::exp(results[i].clean.log_probability), cases[i].clean));
    for (size_t k = 0; k < results[i].knockouts.size(); ++k)
      errors.all.push_back(oracle_error(probability_of(results[i], k), cases[i].probabilities[k]));
  }
  return errors;
}

class Oracle : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    set_threads(1, 1);
    if (!std::filesystem::exists(directory_of(GetParam())))
      GTEST_SKIP() << "no " << directory_of(GetParam()).string() << " here";
  }

  // Prints the row of docs/precision.md.
  static void expect_right(Precision precision) {
    const Errors errors = errors_of(GetParam(), precision);
    std::cout << "| " << GetParam() << " | " << to_string(precision) << " | " << errors.median()
              << " | " << errors.worst() << " |\n";
    EXPECT_LE(errors.worst(), oracle_tolerance(errors.family, precision).value);
  }
};

TEST_P(Oracle, Fp64) {
  expect_right(Precision::kFp64);
}

TEST_P(Oracle, Fp32) {
  expect_right(Precision::kFp32);
}

TEST_P(Oracle, ReferenceForward) {
  const auto network = Network::load(std::make_shared<const Checkpoint>(checkpoint_of(GetParam())),
                                     at::kCPU, Precision::kFp64);
  const ReferenceForward reference(*network);
  double worst = 0;
  for (const OracleCase& one : cases_of(GetParam(), network->architecture().vocabulary))
    for (size_t k = 0; k < one.probabilities.size(); ++k) {
      const at::Tensor log =
          reference.log_probabilities(one.request.ids, one.request.series[k].run(0));
      worst = std::max(worst, oracle_error(std::exp(log[one.request.answer].item<double>()),
                                           one.probabilities[k]));
    }
  EXPECT_LE(worst, 1e-10);
}

// The forward that materialises its matrices, which referees random checkpoints of all kinds.
TEST_P(Oracle, NaiveForward) {
  if (GetParam().ends_with("_original")) GTEST_SKIP() << "the same weights as the plain case";
  for (const char* scaled : {"olmo3_yarn", "olmo3_bases", "gemma3_linear", "phi3_longrope"})
    if (GetParam() == scaled) GTEST_SKIP() << "the naive forward does not scale rotations";
  const Checkpoint checkpoint = checkpoint_of(GetParam());
  const NaiveModel naive(checkpoint);
  double worst = 0;
  for (const OracleCase& one : cases_of(GetParam(), checkpoint.config().at("vocab_size"))) {
    const auto error = [&](const Block& knockout, double expected) {
      const at::Tensor log = naive.log_probabilities(one.request.ids, knockout);
      worst =
          std::max(worst, oracle_error(std::exp(log[one.request.answer].item<double>()), expected));
    };
    error({}, one.clean);
    for (size_t k = 0; k < one.probabilities.size(); ++k)
      error(one.request.series[k].block(), one.probabilities[k]);
  }
  EXPECT_LE(worst, oracle_tolerance("", Precision::kFp64).value);
}

INSTANTIATE_TEST_SUITE_P(Cases, Oracle,
                         testing::Values("gpt2", "gpt_neox", "llama", "llama_tied", "mistral",
                                         "qwen2", "mamba", "mamba_original", "falcon_mamba",
                                         "mamba2", "mamba2_original", "mamba2_groups"),
                         [](const auto& test) { return test.param; });
INSTANTIATE_TEST_SUITE_P(Decoders, Oracle,
                         testing::Values("qwen3", "qwen3_tied", "qwen3_sliding", "olmo2",
                                         "olmo2_gqa", "olmo3", "olmo3_yarn", "olmo3_bases",
                                         "gemma2", "gemma2_uncapped", "gemma3", "gemma3_linear",
                                         "phi3", "phi3_partial", "phi3_longrope", "smollm3",
                                         "smollm3_windows", "granite", "granite_biased", "gptj",
                                         "gptj_whole", "opt", "opt_post", "opt_bare"),
                         [](const auto& test) { return test.param; });

// The floors are those that the oracle measured: of a family the worst of its cases.
TEST(OracleTolerance, FloorsAreTheMeasuredOnes) {
  const nlohmann::json measured = nlohmann::json::parse(read_file(kOracle / "noise_floors.json"));
  for (const auto& [folder, kind] :
       {std::pair{"cases", OracleKind::kKnockouts}, std::pair{"cases_sites", OracleKind::kAtSites},
        std::pair{"cases_families", OracleKind::kKnockouts}}) {
    std::map<std::string, double> worst;
    for (const auto& [name, floor] : measured.at(folder).items()) {
      if (!std::filesystem::exists(kOracle / folder / name)) continue;
      const Checkpoint checkpoint = Checkpoint::open((kOracle / folder / name).string());
      double& of_family = worst[checkpoint.config().at("model_type")];
      of_family = std::max(of_family, floor.at("worst").get<double>());
    }
    // Not all of the newer families' cases are kept here.
    for (const auto& [family, floor] : worst)
      if (folder == std::string("cases_families"))
        EXPECT_GE(float32_floor(family, kind), floor) << family;
      else
        EXPECT_EQ(float32_floor(family, kind), floor) << family;
  }
}

TEST(OracleTolerance, IsThreeFloorsInFp32AndNeverLessThanTheLeast) {
  EXPECT_EQ(oracle_tolerance("mamba", Precision::kFp64).value, 1e-6);
  EXPECT_DOUBLE_EQ(oracle_tolerance("mamba", Precision::kFp32).value, 5.1e-3);
  EXPECT_EQ(oracle_tolerance("gpt2", Precision::kFp32).value, 1e-4);
  EXPECT_THROW(oracle_tolerance("gpt2", Precision::kTf32), InputError);
}

}  // namespace
}  // namespace factflow
