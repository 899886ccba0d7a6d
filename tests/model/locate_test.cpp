// The float64 oracle's answers about locating and editing (tests/oracle/README.md), and how their
// file is read.
#include <filesystem>
#include <fstream>
#include <iostream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/json_text.hpp"
#include "model/edit/check_cases.hpp"
#include "model/locate_cases.hpp"
#include "model/locate_engine.hpp"
#include "model/oracle_cases.hpp"
#include "model/threads.hpp"
#include "tests/expect_input_error.hpp"
#include "tests/source_dir.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow {
namespace {

const std::filesystem::path kSource = source_dir();

// Two families are kept here; all of them may lie beside the project.
std::filesystem::path directory_of(const std::string& family) {
  const std::filesystem::path here = kSource / "tests" / "oracle" / "cases_locate" / family;
  if (std::filesystem::exists(here)) return here;
  return kSource.parent_path() / "shared" / "oracle" / "cases_locate" / family;
}

class LocateOracle : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    set_threads(1, 1);
    if (!std::filesystem::exists(directory()))
      GTEST_SKIP() << "no " << directory().string() << " here";
  }
  static std::filesystem::path directory() { return directory_of(GetParam()); }
  static std::unique_ptr<Network> load(Precision precision) {
    return Network::load(std::make_shared<const Checkpoint>(Checkpoint::open(directory().string())),
                         at::kCPU, precision);
  }
  static LocateCases cases(const Network& network) {
    return read_locate_cases(directory() / "locate_cases.json", network.architecture().vocabulary,
                             network.architecture().layers);
  }
  static void expect_right(const std::vector<LocateCheck>& checks) {
    for (const LocateCheck& check : checks) {
      std::cout << "| " << GetParam() << " | " << check.part() << " | " << check.compared() << " | "
                << check.error() << " |\n";
      EXPECT_GT(check.compared(), 0U) << check.part();
      EXPECT_LE(check.error(), check.limit()) << check.part() << " at " << check.worst();
    }
  }
};

TEST_P(LocateOracle, EditsRelationsAndGradientsInFp64) {
  const auto network = load(Precision::kFp64);
  expect_right(check_locate_cases(*network, cases(*network)));
}

TEST_P(LocateOracle, TracesPathsAndKnockoutsInFp64) {
  const auto network = load(Precision::kFp64);
  ReplayEngine engine(*network);
  const OracleTolerance limit =
      oracle_tolerance(GetParam(), Precision::kFp64, OracleKind::kLocating);
  expect_right(check_traced_cases(engine, cases(*network), limit));
}

TEST_P(LocateOracle, TracesPathsAndKnockoutsInFp32) {
  const auto network = load(Precision::kFp32);
  ReplayEngine engine(*network);
  const OracleTolerance limit =
      oracle_tolerance(GetParam(), Precision::kFp32, OracleKind::kLocating);
  expect_right(check_traced_cases(engine, cases(*network), limit));
}

INSTANTIATE_TEST_SUITE_P(Cases, LocateOracle,
                         testing::Values("mamba", "gpt2", "falcon_mamba", "mamba2", "gpt_neox",
                                         "llama", "qwen2"),
                         [](const auto& test) { return test.param; });

// A check that is not met says so, and where.
TEST(LocateCheck, KeepsTheLargestError) {
  LocateCheck check("part", 1e-6);
  check.log_probability("right", std::log(0.25), 0.25);
  EXPECT_TRUE(check.right());
  check.values("vector", at::tensor({1.0, 2.0}, at::kDouble), std::vector<double>{1.0, 2.001});
  check.number("number", 1 + 1e-7, 1);
  EXPECT_FALSE(check.right());
  EXPECT_EQ(check.worst(), "vector");
  EXPECT_EQ(check.compared(), 3U);
  check.values("length", at::tensor({1.0}, at::kDouble), std::vector<double>{1.0, 2.0});
  EXPECT_TRUE(std::isinf(check.error()));
  LocateCheck nan("part", 1e-6);
  nan.log_probability("nan", std::nan(""), 0.5);
  EXPECT_FALSE(nan.right());
}

class LocateFile : public testing::Test {
 protected:
  static const nlohmann::json& file() {
    static const nlohmann::json parsed = read_json_file(directory_of("gpt2") / "locate_cases.json");
    return parsed;
  }
  // The one-line message about the file with something changed.
  template <class Change>
  std::string refused(Change change) {
    nlohmann::json changed = file();
    change(changed);
    const std::filesystem::path path = directory_.path() / "locate_cases.json";
    std::ofstream(path) << changed;
    const std::string message = input_error_of([&] { read_locate_cases(path, 211, 6); });
    EXPECT_THAT(message, testing::HasSubstr("locate_cases.json: "));
    return message;
  }
  TemporaryDirectory directory_;
};

TEST_F(LocateFile, UnknownAndMissingKeysAreNamed) {
  using nlohmann::json;
  using testing::HasSubstr;
  const auto key = [&](const char* place) {
    return refused([&](json& f) { f[json::json_pointer(place)]["more"] = 1; });
  };
  EXPECT_THAT(key(""), HasSubstr("unknown key 'more'"));
  EXPECT_THAT(key("/facts/1"), HasSubstr("facts[1]: unknown key 'more'"));
  EXPECT_THAT(key("/traces/3"), HasSubstr("traces[3]: unknown key 'more'"));
  EXPECT_THAT(key("/noise/1/maps/0"), HasSubstr("noise[1]: maps[0]: unknown key 'more'"));
  EXPECT_THAT(key("/paths/2"), HasSubstr("paths[2]: unknown key 'more'"));
  EXPECT_THAT(key("/knockouts/2"), HasSubstr("knockouts[2]: unknown key 'more'"));
  EXPECT_THAT(key("/edits/0/settings"), HasSubstr("edits[0]: settings: unknown key 'more'"));
  EXPECT_THAT(key("/edits/0/trace/1"), HasSubstr("edits[0]: trace[1]: unknown key 'more'"));
  EXPECT_THAT(key("/edits/1/before/0"), HasSubstr("edits[1]: before[0]: unknown key 'more'"));
  EXPECT_THAT(key("/memit/facts/0"), HasSubstr("memit: facts[0]: unknown key 'more'"));
  EXPECT_THAT(key("/memit/steps/0"), HasSubstr("memit: steps[0]: unknown key 'more'"));
  EXPECT_THAT(key("/lre/0/J/1"), HasSubstr("lre[0]: J[1]: unknown key 'more'"));
  EXPECT_THAT(key("/lre/1/causality/1"), HasSubstr("lre[1]: causality[1]: unknown key 'more'"));
  EXPECT_THAT(key("/attributions/0"), HasSubstr("attributions[0]: unknown key 'more'"));
  EXPECT_THAT(refused([](json& f) { f["edits"][0].erase("u"); }), HasSubstr("'u' not found"));
}

TEST_F(LocateFile, WhatDoesNotFitIsRefused) {
  using nlohmann::json;
  using testing::HasSubstr;
  EXPECT_THAT(refused([](json& f) { f["layers"] = 7; }), HasSubstr("layers: 7, but the model"));
  EXPECT_THAT(refused([](json& f) { f["facts"][0]["clean"][0] = 211; }),
              HasSubstr("facts[0]: clean: token 211 is outside the vocabulary of 211"));
  EXPECT_THAT(refused([](json& f) { f["facts"][0]["clean"].push_back(1); }),
              HasSubstr("differ in length"));
  EXPECT_THAT(refused([](json& f) { f["traces"][0]["fact"] = 4; }), HasSubstr("fact: 4 of 4"));
  EXPECT_THAT(refused([](json& f) { f["traces"][0]["p"][0].push_back(0.5); }),
              HasSubstr("not tokens x layers"));
  EXPECT_THAT(refused([](json& f) { f["traces"][0]["corruption"] = "gauss"; }),
              HasSubstr("corruption: unknown word 'gauss'"));
  EXPECT_THAT(refused([](json& f) { f["traces"][0]["site"] = "hh"; }), HasSubstr("hh"));
  EXPECT_THAT(refused([](json& f) { f["knockouts"][0]["mode"] = "mean-a"; }),
              HasSubstr("'mean-a' has no means"));
  EXPECT_THAT(refused([](json& f) { f["knockouts"][0]["positions"][0] = 99; }),
              HasSubstr("positions: 99 is outside the prompt"));
  EXPECT_THAT(refused([](json& f) { f["edits"][0]["matrix"] = "W_x"; }), HasSubstr("W_x"));
  EXPECT_THAT(refused([](json& f) { f["edits"][0]["shrinkage"] = nullptr; }),
              HasSubstr("covariance and shrinkage do not fit"));
  EXPECT_THAT(refused([](json& f) { f["edits"][0]["subject_last"] = 99; }),
              HasSubstr("subject_last: 99 is outside a prompt"));
  EXPECT_THAT(refused([](json& f) { f["lre"][0]["causality"][0]["source"] = 6; }),
              HasSubstr("outside the test prompts"));
  EXPECT_THAT(refused([](json& f) { f["lre"][0]["betas"].push_back(1.0); }),
              HasSubstr("not one for each beta"));
}

// As the oracle counts them (locate.py, window).
TEST(CentredWindow, IsClippedToTheLayers) {
  EXPECT_EQ(centred_window(3, 10, 64), (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(centred_window(63, 10, 64), (std::vector<int>{58, 59, 60, 61, 62, 63}));
  EXPECT_EQ(centred_window(2, 1, 6), std::vector<int>{2});
  EXPECT_EQ(centred_window(2, 3, 6), (std::vector<int>{1, 2, 3}));
}

}  // namespace
}  // namespace factflow
