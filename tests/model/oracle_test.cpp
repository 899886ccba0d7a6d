// The engine against the float64 oracle's answers on random checkpoints of every family
// (tests/oracle/README.md). Tolerances and the noise floor behind them: docs/precision.md.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <random>

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "model/device.hpp"
#include "model/oracle_cases.hpp"
#include "random_checkpoint.hpp"

namespace factflow {
namespace {

const std::filesystem::path kCases =
    std::filesystem::path(FACTFLOW_SOURCE_DIR) / "tests" / "oracle" / "cases";

constexpr unsigned kSeeds = 32;

// Of every answer: each case's clean run, then its knockouts.
using Probabilities = std::vector<double>;

std::vector<OracleCase> cases_of(const std::string& name, const Network& network) {
  const std::string answers = name.substr(0, name.find("_original"));
  return read_oracle_cases(kCases / answers / "cases.json", network.architecture().vocabulary);
}

Probabilities expected_of(const std::vector<OracleCase>& cases) {
  Probabilities all;
  for (const OracleCase& one : cases) {
    all.push_back(one.clean);
    all.insert(all.end(), one.probabilities.begin(), one.probabilities.end());
  }
  return all;
}

Probabilities computed(const Network& network, const std::vector<OracleCase>& cases) {
  std::vector<ReplayRequest> requests;
  for (const OracleCase& one : cases) requests.push_back(one.request);
  const std::vector<ReplayResult> results = ReplayEngine(network, 0).run(requests);
  Probabilities all;
  for (const ReplayResult& result : results) {
    all.push_back(std::exp(result.clean.log_probability));
    for (size_t k = 0; k < result.knockouts.size(); ++k) all.push_back(probability_of(result, k));
  }
  return all;
}

std::unique_ptr<Network> load(const std::filesystem::path& directory, Precision precision) {
  return Network::load(std::make_shared<const Checkpoint>(Checkpoint::open(directory.string())),
                       at::kCPU, precision);
}

std::vector<double> errors_between(const Probabilities& probabilities,
                                   const Probabilities& expected) {
  std::vector<double> errors;
  for (size_t i = 0; i < expected.size(); ++i)
    errors.push_back(oracle_error(probabilities[i], expected[i]));
  return errors;
}

double worst_of(const std::vector<double>& errors) {
  return *std::max_element(errors.begin(), errors.end());
}

double median_of(std::vector<double> errors) {
  std::nth_element(errors.begin(), errors.begin() + static_cast<std::ptrdiff_t>(errors.size() / 2),
                   errors.end());
  return errors[errors.size() / 2];
}

// A copy of a checkpoint whose every float32 weight is moved by one unit in the last place, up,
// down or not at all.
void write_perturbed(const std::filesystem::path& from, const std::filesystem::path& to,
                     unsigned seed) {
  const Checkpoint checkpoint = Checkpoint::open(from.string());
  std::mt19937 random(seed);
  std::map<std::string, NamedTensor> tensors;
  for (const auto& [name, stored] : checkpoint.tensors()) {
    NamedTensor& tensor = tensors[name];
    tensor.shape = stored.shape;
    tensor.values.resize(static_cast<size_t>(stored.count()));
    convert(stored, 0, std::span(tensor.values));
    for (float& value : tensor.values)
      if (const auto way = random() % 3; way < 2)
        value = std::nextafter(value, way == 0 ? -INFINITY : INFINITY);
  }
  std::filesystem::copy_file(from / "config.json", to / "config.json");
  write_tensors(to, tensors);
}

// How far each answer moves, at most over kSeeds runs in float64, when the weights move by one
// float32 unit in the last place: no float32 computation can be expected to be closer to the truth
// than this.
std::vector<double> measure_floor(const std::string& name) {
  const auto network = load(kCases / name, Precision::kFp64);
  const std::vector<OracleCase> cases = cases_of(name, *network);
  const Probabilities exact = computed(*network, cases);
  std::vector<double> floor(exact.size(), 0.0);
  for (unsigned seed = 1; seed <= kSeeds; ++seed) {
    const TemporaryDirectory directory;
    write_perturbed(kCases / name, directory.path(), seed);
    const std::vector<double> moved =
        errors_between(computed(*load(directory.path(), Precision::kFp64), cases), exact);
    for (size_t i = 0; i < floor.size(); ++i) floor[i] = std::max(floor[i], moved[i]);
  }
  return floor;
}

const std::vector<double>& noise_floor(const std::string& name) {
  static std::map<std::string, std::vector<double>> known;
  const auto found = known.find(name);
  return found != known.end() ? found->second
                              : known.emplace(name, measure_floor(name)).first->second;
}

std::vector<double> errors_of(const std::string& name, Precision precision) {
  const auto network = load(kCases / name, precision);
  const std::vector<OracleCase> cases = cases_of(name, *network);
  return errors_between(computed(*network, cases), expected_of(cases));
}

class Oracle : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { set_threads(1, 1); }

  // Every answer within `tolerance`, or within three times its own noise floor where the checkpoint
  // amplifies rounding.
  void expect_within(const std::vector<double>& errors, double tolerance) {
    const bool amplifies = GetParam() == "mamba" || GetParam() == "mamba_original";
    for (size_t i = 0; i < errors.size(); ++i)
      EXPECT_LT(errors[i], amplifies ? std::max(tolerance, 3 * noise_floor("mamba")[i]) : tolerance)
          << "answer " << i;
    RecordProperty("worst", std::to_string(worst_of(errors) * 1e6) + "e-6");
  }
};

TEST_P(Oracle, Fp64) {
  double tolerance = GetParam().find("mamba") != std::string::npos ? 1e-5 : 2e-5;
  if (GetParam() == "gpt2") tolerance = 1e-12;  // computes nothing in float32
  if (GetParam() == "gpt_neox") tolerance = 1e-6;
  expect_within(errors_of(GetParam(), Precision::kFp64), tolerance);
}

TEST_P(Oracle, Fp32) {
  expect_within(errors_of(GetParam(), Precision::kFp32), 1e-4);
}

// The numbers of docs/precision.md: median and worst of fp64's error, of the noise floor, of fp32's
// error; the largest ratio of an fp32 error beyond 1e-4 to its own floor.
TEST_P(Oracle, Fp32IsAboutAsGoodAsFp32CanBe) {
  if (GetParam().ends_with("_original")) GTEST_SKIP() << "the same weights as the plain case";
  const std::vector<double> fp64 = errors_of(GetParam(), Precision::kFp64),
                            fp32 = errors_of(GetParam(), Precision::kFp32);
  const std::vector<double>& floor = noise_floor(GetParam());
  std::cout << "| " << GetParam();
  for (const std::vector<double>& errors : {fp64, floor, fp32})
    std::cout << " | " << median_of(errors) << " | " << worst_of(errors);
  double above_floor = 0;
  for (size_t i = 0; i < fp32.size(); ++i)
    if (fp32[i] > 1e-4) above_floor = std::max(above_floor, fp32[i] / floor[i]);
  std::cout << " | " << above_floor << " |\n";
  EXPECT_LT(median_of(fp32), 4 * median_of(floor));
}

INSTANTIATE_TEST_SUITE_P(Cases, Oracle,
                         testing::Values("gpt2", "gpt_neox", "llama", "llama_tied", "mistral",
                                         "qwen2", "mamba", "mamba_original", "falcon_mamba",
                                         "mamba2", "mamba2_original"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace factflow
