#include "model/oracle_cases.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/json_text.hpp"

namespace factflow {
namespace {

constexpr int kMostLayers = 1 << 20;

Window window_of(const std::vector<int>& layers) {
  if (layers.empty()) return {0, 0};
  for (size_t i = 0; i < layers.size(); ++i) {
    if (layers[i] < 0 || layers[i] >= kMostLayers)
      throw std::invalid_argument(fmt::format("there is no layer {}", layers[i]));
    if (i > 0 && layers[i] != layers[i - 1] + 1)
      throw std::invalid_argument("layers must be consecutive and ascending");
  }
  return {layers.front(), layers.back() + 1};
}

// The oracle takes positions as a set; the engine wants them ascending.
std::vector<int> positions_in(const nlohmann::json& list) {
  auto positions = list.get<std::vector<int>>();
  std::sort(positions.begin(), positions.end());
  positions.erase(std::unique(positions.begin(), positions.end()), positions.end());
  return positions;
}

OracleCase read_case(const nlohmann::json& entry, int vocabulary) {
  OracleCase one;
  entry.at("ids").get_to(one.request.ids);
  entry.at("answer").get_to(one.request.answer);
  entry.at("clean").get_to(one.clean);
  entry.at("probs").get_to(one.probabilities);
  if (entry.contains("clean_logits")) entry.at("clean_logits").get_to(one.clean_logits);
  for (const nlohmann::json& knockout : entry.at("knockouts"))
    one.request.cuts.push_back({positions_in(knockout.at("targets")),
                                positions_in(knockout.at("sources")),
                                parse_channel_set(knockout.at("channels").get<std::string>()),
                                {window_of(knockout.at("layers").get<std::vector<int>>())}});
  if (one.probabilities.size() != one.request.cuts.size())
    throw std::invalid_argument("probs and knockouts differ in length");
  if (!one.clean_logits.empty() && one.clean_logits.size() != static_cast<size_t>(vocabulary))
    throw std::invalid_argument(
        fmt::format("expected {} clean_logits, found {}", vocabulary, one.clean_logits.size()));
  std::vector<int> tokens = one.request.ids;
  tokens.push_back(one.request.answer);
  for (const int id : tokens)
    if (id < 0 || id >= vocabulary)
      throw std::invalid_argument(
          fmt::format("token {} is outside the vocabulary of {}", id, vocabulary));
  return one;
}

}  // namespace

std::vector<OracleCase> read_oracle_cases(const std::filesystem::path& path, int vocabulary) {
  std::vector<OracleCase> cases;
  const auto fail = [&](const char* problem) {
    throw InputError(path.string(), fmt::format("case {}: {}", cases.size(), problem));
  };
  try {
    const nlohmann::json file = read_json_file(path);
    if (!file.is_array()) throw std::invalid_argument("expected a list of cases");
    for (const nlohmann::json& entry : file) cases.push_back(read_case(entry, vocabulary));
  } catch (const nlohmann::json::exception& error) {
    fail(error.what());
  } catch (const std::invalid_argument& error) {
    fail(error.what());
  } catch (const InputError& error) {
    if (error.where() == path.string()) throw;
    fail(error.what());
  }
  return cases;
}

double oracle_error(double probability, double expected) {
  const double error = std::abs(probability - expected) / (expected + 1e-6);
  return std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
}

double float32_floor(const std::string& family) {
  static const std::map<std::string, double> kWorst = {
      {"falcon_mamba", 1.6e-5}, {"gpt2", 5.79e-6},   {"gpt_neox", 2.87e-6}, {"llama", 2.45e-5},
      {"mamba", 1.7e-3},        {"mamba2", 3.33e-5}, {"mistral", 8.58e-6},  {"qwen2", 2.45e-5}};
  const auto found = kWorst.find(family);
  return found == kWorst.end() ? 0 : found->second;
}

OracleTolerance oracle_tolerance(const std::string& family, Precision precision) {
  constexpr double kFp64 = 1e-6, kFp32 = 1e-4, kFloors = 3;
  if (precision == Precision::kFp64) return {kFp64, "fp64 rounds nothing to float32"};
  if (precision != Precision::kFp32)
    throw InputError("factflow verify",
                     fmt::format("--tolerance is needed in {}, which has no measured floor",
                                 to_string(precision)),
                     "docs/precision.md says what to expect");
  const double floor = float32_floor(family);
  const std::string of = fmt::format("the float32 floor of {}, {:.2g}", family, floor);
  if (kFloors * floor > kFp32) return {kFloors * floor, "three times " + of};
  return {kFp32, floor > 0 ? "fp32; three times " + of + ", is less" : "fp32"};
}

double probability_of(const ReplayResult& result, size_t index) {
  const Answer& answer = result.knockouts[index][0];
  return std::exp((answer.rank == 0 ? result.clean : answer).log_probability);
}

}  // namespace factflow
