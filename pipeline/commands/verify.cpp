// factflow verify: the engine against the answers of the float64 oracle (tests/oracle/).
#include <cmath>
#include <iostream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/files.hpp"
#include "model/device.hpp"
#include "model/replay.hpp"
#include "pipeline/commands/command.hpp"

namespace factflow {
namespace {

namespace po = boost::program_options;

struct OracleCase {
  ReplayRequest request;  // one cut with one window per knockout
  double clean = 0;
  std::vector<double> probabilities;
};

Window window_of(const std::vector<int>& layers) {
  if (layers.empty()) return {0, 0};
  for (size_t i = 1; i < layers.size(); ++i)
    if (layers[i] != layers[i - 1] + 1) throw std::invalid_argument("layers must be consecutive and ascending");
  return {layers.front(), layers.back() + 1};
}

std::vector<OracleCase> read_cases(const std::string& path) {
  std::vector<OracleCase> cases;
  try {
    const nlohmann::json file = nlohmann::json::parse(read_file(path));
    for (const nlohmann::json& entry : file) {
      OracleCase& one = cases.emplace_back();
      entry.at("ids").get_to(one.request.ids);
      entry.at("answer").get_to(one.request.answer);
      entry.at("clean").get_to(one.clean);
      entry.at("probs").get_to(one.probabilities);
      for (const nlohmann::json& knockout : entry.at("knockouts"))
        one.request.cuts.push_back({knockout.at("targets").get<std::vector<int>>(), knockout.at("sources").get<std::vector<int>>(),
                                    parse_channel_set(knockout.at("channels").get<std::string>()),
                                    {window_of(knockout.at("layers").get<std::vector<int>>())}});
      if (one.probabilities.size() != one.request.cuts.size())
        throw std::invalid_argument("probs and knockouts differ in length");
    }
  } catch (const nlohmann::json::exception& error) {
    throw InputError(path, fmt::format("case {}: {}", cases.size(), error.what()));
  } catch (const std::invalid_argument& error) {
    throw InputError(path, fmt::format("case {}: {}", cases.size(), error.what()));
  }
  return cases;
}

double relative_error(double probability, double expected) { return std::abs(probability - expected) / (expected + 1e-6); }

// NaN counts as infinitely wrong.
void raise(double& worst, double error) {
  if (!(error <= worst)) worst = std::isnan(error) ? INFINITY : error;
}

}  // namespace

int verify_command(const std::vector<std::string>& arguments) {
  po::options_description options;
  options.add_options()
      ("model", po::value<std::string>()->required(), "checkpoint: a directory or hf:ORG/NAME")
      ("cases", po::value<std::string>()->required(), "the oracle's cases.json")
      ("device", po::value<std::string>()->default_value("auto"), "auto, cpu, cuda or cuda:N")
      ("precision", po::value<std::string>()->default_value("fp32"), "fp64, fp32, tf32x3, tf32 or bf16")
      ("threads", po::value<int>()->default_value(0), "threads; 0 = all cores")
      ("memory-limit", po::value<std::int64_t>()->default_value(0), "bytes for activations; 0 = automatic")
      ("tolerance", po::value<double>()->default_value(1e-4), "largest |p - p_oracle| / (p_oracle + 1e-6) that passes");
  po::variables_map values;
  if (!parse_options(command_named("verify"), options, {}, arguments, values)) return 0;
  set_threads(values["threads"].as<int>(), 1);
  const std::string cases_file = values["cases"].as<std::string>();
  const std::vector<OracleCase> cases = read_cases(cases_file);
  const at::Device device = choose_device(values["device"].as<std::string>(), 0, 1);
  auto checkpoint = std::make_shared<const Checkpoint>(Checkpoint::open(values["model"].as<std::string>()));
  const auto network = Network::load(checkpoint, device, parse_precision(values["precision"].as<std::string>()));

  std::vector<ReplayRequest> requests;
  for (const OracleCase& one : cases) {
    for (const int id : one.request.ids)
      if (id < 0 || id >= network->architecture().vocabulary)
        throw InputError(cases_file, fmt::format("token {} is outside the vocabulary of {}", id, network->architecture().vocabulary));
    requests.push_back(one.request);
  }
  ReplayEngine engine(*network, values["memory-limit"].as<std::int64_t>());
  std::vector<ReplayResult> results;
  try {
    results = engine.run(requests);
  } catch (const std::invalid_argument& error) {
    throw InputError(cases_file, error.what());
  }
  double worst_clean = 0, worst = 0;
  size_t knockouts = 0;
  for (size_t i = 0; i < cases.size(); ++i) {
    raise(worst_clean, relative_error(std::exp(results[i].clean.log_probability), cases[i].clean));
    for (size_t k = 0; k < cases[i].probabilities.size(); ++k, ++knockouts) {
      Answer answer = results[i].knockouts[k][0];
      if (answer.rank == 0) answer = results[i].clean;  // blocks no edge: the oracle's answer is the clean one
      raise(worst, relative_error(std::exp(answer.log_probability), cases[i].probabilities[k]));
    }
  }
  std::cout << fmt::format("{}, {}, {}: clean runs: max relative error {:.3g}\n", network->architecture().family, describe(device),
                           to_string(network->precision()), worst_clean);
  std::cout << fmt::format("{} knockouts in {} cases: max relative error {:.3g}\n", knockouts, cases.size(), worst);
  return worst <= values["tolerance"].as<double>() && worst_clean <= values["tolerance"].as<double>() ? 0 : 1;
}

}  // namespace factflow
