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
#include "model/oracle_interventions.hpp"

namespace factflow {
namespace {

void check_ids(const std::vector<int>& ids, int vocabulary) {
  for (const int id : ids)
    if (id < 0 || id >= vocabulary)
      throw std::invalid_argument(
          fmt::format("token {} is outside the vocabulary of {}", id, vocabulary));
}

// What `cases` have: knockouts.
void read_knockouts(const nlohmann::json& entry, OracleCase& one) {
  allow_keys(entry, {"ids", "answer", "clean", "clean_logits", "knockouts", "probs", "edges"});
  for (const nlohmann::json& knockout : entry.at("knockouts")) {
    allow_keys(knockout, {"layers", "targets", "sources", "channels", "path", "erase", "mixers"});
    Block block;
    block.targets = parse_positions(knockout.at("targets"));
    block.sources = parse_positions(knockout.at("sources"));
    block.selection = parse_channel_set(knockout.at("channels").get<std::string>());
    block.layers = parse_positions(knockout.at("layers"));
    block.path = parse_path(knockout.value("path", std::string("both")));
    block.erase = knockout.value("erase", false);
    if (knockout.contains("mixers")) one.mixers.push_back(parse_positions(knockout["mixers"]));
    one.request.series.push_back({{block}, std::nullopt});
  }
}

// What `cases_sites` have: lists of interventions that act together, and reads.
void read_sites(const nlohmann::json& entry, OracleCase& one) {
  one.kind = OracleKind::kAtSites;
  allow_keys(entry, {"ids", "answer", "clean", "interventions_list", "probs", "reads"});
  for (const nlohmann::json& list : entry.at("interventions_list")) {
    std::vector<Intervention> together;
    for (const nlohmann::json& intervention : list)
      together.push_back(parse_intervention(intervention));
    one.request.series.push_back({std::move(together), std::nullopt});
  }
  if (!entry.contains("reads")) return;
  for (const nlohmann::json& object : entry["reads"]) {
    OracleRead read = parse_read(object);
    if (read.read.under && read.read.under->series >= one.request.series.size())
      throw std::invalid_argument(fmt::format("a read under list {} of {}", read.read.under->series,
                                              one.request.series.size()));
    one.request.reads.push_back(read.read);
    one.reads.push_back(std::move(read.values));
  }
}

OracleCase read_case(const nlohmann::json& entry, int vocabulary) {
  OracleCase one;
  if (entry.contains("interventions_list"))
    read_sites(entry, one);
  else
    read_knockouts(entry, one);
  entry.at("ids").get_to(one.request.ids);
  entry.at("answer").get_to(one.request.answer);
  entry.at("clean").get_to(one.clean);
  entry.at("probs").get_to(one.probabilities);
  if (entry.contains("clean_logits")) entry.at("clean_logits").get_to(one.clean_logits);
  if (entry.contains("edges")) entry.at("edges").get_to(one.edges);
  if (!one.edges.empty() && one.edges.size() != one.request.series.size())
    throw std::invalid_argument("edges and what they are of differ in length");
  if (one.probabilities.size() != one.request.series.size())
    throw std::invalid_argument("probs and what they are of differ in length");
  if (!one.clean_logits.empty() && one.clean_logits.size() != static_cast<size_t>(vocabulary))
    throw std::invalid_argument(
        fmt::format("expected {} clean_logits, found {}", vocabulary, one.clean_logits.size()));
  check_ids(one.request.ids, vocabulary);
  check_ids({one.request.answer}, vocabulary);
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
  if (cases.empty()) throw InputError(path.string(), "holds no cases");
  return cases;
}

namespace {

// Of the mixers of tokens in some layers, counted from the first layer on.
std::vector<int> ordinals_of(const std::vector<int>& layers, const Architecture& architecture) {
  std::vector<int> ordinals;
  int next = 0;
  for (int layer = 0; layer < architecture.layers; ++layer)
    for (const BlockShape& block : architecture.blocks[static_cast<size_t>(layer)]) {
      if (!block.mixer->mixes_tokens()) continue;
      if (std::binary_search(layers.begin(), layers.end(), layer)) ordinals.push_back(next);
      ++next;
    }
  return ordinals;
}

}  // namespace

void check_mixers(const std::vector<OracleCase>& cases, const Architecture& architecture,
                  const std::filesystem::path& path) {
  for (size_t c = 0; c < cases.size(); ++c)
    for (size_t k = 0; k < cases[c].mixers.size(); ++k)
      if (cases[c].mixers[k] !=
          ordinals_of(cases[c].request.series[k].block().layers, architecture))
        throw InputError(
            path.string(),
            fmt::format("case {}: knockout {}: mixers are not those of its layers", c, k));
}

double oracle_error(double probability, double expected) {
  const double error = std::abs(probability - expected) / (expected + 1e-6);
  return std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
}

double read_error(const at::Tensor& value, const std::vector<double>& expected) {
  const at::Tensor truth = at::tensor(expected, at::kDouble);
  if (value.sizes() != truth.sizes()) return std::numeric_limits<double>::infinity();
  const double error = ((value.to(at::kDouble) - truth).norm() / truth.norm()).item<double>();
  return std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
}

double float32_floor(const std::string& family, OracleKind kind) {
  using Floors = std::map<std::string, double>;
  static const Floors kKnockouts = {{"falcon_mamba", 1.6e-5},
                                    {"gpt2", 5.79e-6},
                                    {"gpt_neox", 2.87e-6},
                                    {"llama", 2.45e-5},
                                    {"mamba", 1.7e-3},
                                    {"mamba2", 3.33e-5},
                                    {"mistral", 8.58e-6},
                                    {"qwen2", 2.45e-5},
                                    {"gemma2", 1.15e-05},
                                    {"gemma3_text", 3.12e-06},
                                    {"gptj", 2.14e-06},
                                    {"granite", 4.68e-06},
                                    {"olmo2", 5.83e-06},
                                    {"olmo3", 1.05e-05},
                                    {"opt", 5.97e-06},
                                    {"phi3", 7.61e-05},
                                    {"qwen3", 2.79e-05},
                                    {"smollm3", 4.84e-05},
                                    {"bamba", 8.77e-06},
                                    {"falcon_h1", 9.31e-06},
                                    {"granitemoehybrid", 4.99e-05},
                                    {"jamba", 9.06e-05},
                                    {"mixtral", 2.22e-05},
                                    {"nemotron_h", 2.98e-06},
                                    {"olmo_hybrid", 2.53e-05},
                                    {"qwen3_5_text", 1.06e-04},
                                    {"qwen3_5_moe_text", 2.52e-05},
                                    {"qwen3_next", 1.08e-04},
                                    {"qwen3_moe", 1.39e-05},
                                    {"lfm2", 8.71e-06},
                                    {"recurrent_gemma", 4.64e-05},
                                    {"rwkv7", 2.45e-06},
                                    {"zamba2", 6.99e-05}};
  static const Floors kOfSites = {
      {"falcon_mamba", 9.47e-5}, {"gpt2", 6.26e-6},   {"gpt_neox", 1.59e-6}, {"llama", 5.25e-6},
      {"mamba", 1.06e-3},        {"mamba2", 7.73e-5}, {"mistral", 6.16e-6},  {"qwen2", 1.43e-5}};
  // Of |log p - log q|.
  static const Floors kLocating = {
      {"falcon_mamba", 4.55e-4}, {"gpt2", 1.84e-5},   {"gpt_neox", 8.77e-6}, {"llama", 2.36e-5},
      {"mamba", 1.01e-2},        {"mamba2", 1.66e-4}, {"qwen2", 9.86e-5}};
  const Floors& floors = kind == OracleKind::kLocating  ? kLocating
                         : kind == OracleKind::kAtSites ? kOfSites
                                                        : kKnockouts;
  const auto found = floors.find(family);
  return found == floors.end() ? 0 : found->second;
}

OracleTolerance oracle_tolerance(const std::string& family, Precision precision, OracleKind kind) {
  constexpr double kFp64 = 1e-6, kFp32 = 1e-4, kFloors = 3;
  if (precision == Precision::kFp64) return {kFp64, "fp64 rounds nothing to float32", kFp64};
  if (precision != Precision::kFp32)
    throw InputError("factflow verify",
                     fmt::format("--tolerance is needed in {}, which has no measured floor",
                                 to_string(precision)),
                     "docs/precision.md says what to expect");
  const double floor = float32_floor(family, kind);
  const double reads = kFloors * (family == "mamba" ? 1e-4 : 2e-5);
  const std::string of = fmt::format("the float32 floor of {}, {:.2g}", family, floor);
  if (kFloors * floor > kFp32) return {kFloors * floor, "three times " + of, reads};
  return {kFp32, floor > 0 ? "fp32; three times " + of + ", is less" : "fp32", reads};
}

double probability_of(const ReplayResult& result, size_t index) {
  const Answer& answer = result.knockouts[index][0];
  return std::exp((answer.rank == 0 ? result.clean : answer).log_probability);
}

}  // namespace factflow
