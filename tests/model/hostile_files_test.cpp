// Published config.json files and the oracle's cases with values that nobody expects: each is read,
// or refused with an InputError, and what is read stays within bounds that nothing overflows.
// libtorch's headers do not compile with Debian's clang, so that this is no libFuzzer harness but a
// mutator of its own; FACTFLOW_FUZZ_SECONDS=600 lets it run longer, best in a build with
// sanitizers.
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <random>

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "model/checkpoint/config_file.hpp"
#include "model/families/family.hpp"
#include "model/oracle_cases.hpp"
#include "random_checkpoint.hpp"
#include "tests/source_dir.hpp"

namespace factflow {
namespace {

using nlohmann::json;

const std::filesystem::path kTests = std::filesystem::path(source_dir()) / "tests";

class Mutator {
 public:
  explicit Mutator(unsigned seed) : random_(seed) {}

  size_t below(size_t count) { return random_() % count; }

  // Changes one to four places, wherever they lie.
  json changed(json value, const json& donor) {
    for (size_t i = 1 + below(4); i > 0; --i) change(value, donor);
    return value;
  }

  // One to four bytes replaced, inserted or cut out.
  std::string changed_text(std::string text) {
    for (size_t i = 1 + below(4); i > 0 && !text.empty(); --i) {
      const size_t at = below(text.size());
      if (const size_t way = below(3); way == 0)
        text[at] = static_cast<char>(below(256));
      else if (way == 1)
        text.insert(at, 1, "[]{}\",:-.0123456789eENaInfty\\"[below(29)]);
      else
        text.erase(at, 1 + below(8));
    }
    return text;
  }

 private:
  void change(json& value, const json& donor) {
    if (!value.is_structured() || value.empty() || below(12) == 0) {
      value = strange();
      return;
    }
    auto place = value.begin();
    std::advance(place, below(value.size()));
    const size_t way = below(6);
    if (way == 0) {
      value.erase(place);
    } else if (way == 1 && donor.is_object() && !donor.empty()) {
      auto other = donor.begin();
      std::advance(other, below(donor.size()));
      *place = *other;
      if (value.is_object()) value[other.key()] = *other;
    } else {
      change(*place, donor);
    }
  }

  json strange() {
    static const json kValues = json::parse(
        R"([null, true, false, 0, 1, 2, 3, -1, 7, 4096, 65536, 16777215, 16777216, 16777217, 2147483647, 2147483648, -2147483649, 4294967296,
            9223372036854775807, 18446744073709551615, 0.0, -0.0, 0.5, 1.0, 1.5, 1e-320, 1e18, 1e308, -1e308, "", "auto", "silu", "llama3", "Mamba2",
            [], {}, [0], [0, 1], [1.0, 0.0], ["full_attention"], {"rope_type": "linear"}, {"layer": "Mamba2"}, [[[]]], {"a": {"b": []}}])");
    if (below(8) == 0) return std::numeric_limits<double>::infinity();
    if (below(16) == 0) return std::numeric_limits<double>::quiet_NaN();
    return kValues[below(kValues.size())];
  }

  std::mt19937 random_;
};

// Calls `step` some thousand times, or for as many seconds as FACTFLOW_FUZZ_SECONDS says.
template <class Step>
void repeat(int times, Step step) {
  const char* seconds = std::getenv("FACTFLOW_FUZZ_SECONDS");
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::seconds(seconds != nullptr ? std::atoi(seconds) : 0);
  std::int64_t done = 0, accepted = 0;
  for (; seconds != nullptr ? std::chrono::steady_clock::now() < end : done < times; ++done) {
    try {
      step();
      ++accepted;
    } catch (const InputError& error) {
      ASSERT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    }
  }
  std::cout << done << " inputs, " << accepted << " accepted\n";
}

std::vector<json> published_configs() {
  std::vector<json> configs;
  for (const auto& entry : std::filesystem::directory_iterator(kTests / "model/published")) {
    const json file = json::parse(std::ifstream(entry.path()));
    for (const json& model : file.at("models")) {
      configs.push_back(file.at("common"));
      configs.back().update(model.at("config"));
    }
  }
  return configs;
}

void read_model(const json& config) {
  const Architecture architecture = read_architecture(config, "config.json");
  const TensorTable table = family_named(architecture.family).tensors(architecture);
  ASSERT_GT(table.parameters(), 0);
  for (const TensorEntry& entry : table.entries)
    for (const std::int64_t size : entry.shape) ASSERT_GT(size, 0) << entry.name;
  ASSERT_GE(architecture.channels(), 0);
}

TEST(HostileFiles, ConfigsOfModels) {
  const std::vector<json> configs = published_configs();
  Mutator mutator(1);
  json config;
  repeat(20'000, [&] {
    config = mutator.changed(configs[mutator.below(configs.size())],
                             configs[mutator.below(configs.size())]);
    SCOPED_TRACE(config.dump());
    read_model(config);
  });
}

TEST(HostileFiles, TextsOfConfigs) {
  const std::vector<json> configs = published_configs();
  Mutator mutator(2);
  repeat(5'000, [&] {
    read_model(parse_config(mutator.changed_text(configs[mutator.below(configs.size())].dump()),
                            "config.json"));
  });
}

TEST(HostileFiles, CasesOfTheOracle) {
  constexpr int kVocabulary = 211;
  json cases = json::parse(std::ifstream(kTests / "oracle/cases/mamba/cases.json"));
  cases.erase(cases.begin() + 1, cases.end());
  for (const char* list : {"knockouts", "probs"})
    cases[0][list].erase(cases[0][list].begin() + 3, cases[0][list].end());
  cases[0]["clean_logits"].erase(cases[0]["clean_logits"].begin(), cases[0]["clean_logits"].end());
  const TemporaryDirectory directory;
  const auto path = directory.path() / "cases.json";
  Mutator mutator(3);
  repeat(3'000, [&] {
    const bool as_text = mutator.below(3) == 0;
    std::ofstream(path) << (as_text ? mutator.changed_text(cases.dump())
                                    : mutator.changed(cases, cases[0]).dump());
    for (const OracleCase& one : read_oracle_cases(path, kVocabulary)) {
      ASSERT_EQ(one.probabilities.size(), one.request.series.size());
      for (const int id : one.request.ids) ASSERT_TRUE(id >= 0 && id < kVocabulary);
    }
  });
}

}  // namespace
}  // namespace factflow
