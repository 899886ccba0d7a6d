// factflow verify: the engine against the answers of the float64 oracle (tests/oracle/).
#include <algorithm>
#include <cmath>
#include <iostream>

#include <fmt/format.h>

#include "base/error.hpp"
#include "model/device.hpp"
#include "model/oracle_cases.hpp"
#include "model/replay.hpp"
#include "pipeline/commands/command.hpp"

namespace factflow {

namespace po = boost::program_options;

int verify_command(const std::vector<std::string>& arguments) {
  po::options_description options;
  options.add_options()("model", po::value<std::string>()->required(),
                        "checkpoint: a directory or hf:ORG/NAME")(
      "cases", po::value<std::string>()->required(), "the oracle's cases.json")(
      "device", po::value<std::string>()->default_value("auto"), "auto, cpu, cuda or cuda:N")(
      "precision", po::value<std::string>()->default_value("auto"),
      "fp64, fp32, tf32x3, tf32 or bf16; auto = the referee's own fp64 on a CPU, fp32 on a GPU")(
      "threads", po::value<int>()->default_value(0), "threads; 0 = all cores")(
      "memory-limit", po::value<std::int64_t>()->default_value(0),
      "bytes for activations; 0 = automatic")(
      "tolerance", po::value<double>()->default_value(1e-4),
      "largest |p - p_oracle| / (p_oracle + 1e-6) that passes");
  add_checkpoint_choices(options);
  po::variables_map values;
  if (!parse_options(command_named("verify"), options, {}, arguments, values)) return 0;
  set_threads(values["threads"].as<int>(), 1);
  const std::string cases_file = values["cases"].as<std::string>();
  const at::Device device = choose_device(values["device"].as<std::string>());
  auto checkpoint =
      std::make_shared<const Checkpoint>(Checkpoint::open(values["model"].as<std::string>()));
  std::string precision = values["precision"].as<std::string>();
  if (precision == "auto") precision = device.is_cpu() ? "fp64" : "fp32";
  const auto network =
      Network::load(checkpoint, device, parse_precision(precision), choices_of(values));

  const std::vector<OracleCase> cases =
      read_oracle_cases(cases_file, network->architecture().vocabulary);
  std::vector<ReplayRequest> requests;
  for (const OracleCase& one : cases) requests.push_back(one.request);
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
    worst_clean = std::max(
        worst_clean, oracle_error(std::exp(results[i].clean.log_probability), cases[i].clean));
    knockouts += cases[i].probabilities.size();
    for (size_t k = 0; k < cases[i].probabilities.size(); ++k)
      worst =
          std::max(worst, oracle_error(probability_of(results[i], k), cases[i].probabilities[k]));
  }
  std::cout << fmt::format("{}, {}, {}: clean runs: max relative error {:.3g}\n",
                           network->architecture().family, describe(device),
                           to_string(network->precision()), worst_clean);
  std::cout << fmt::format("{} knockouts in {} cases: max relative error {:.3g}\n", knockouts,
                           cases.size(), worst);
  return worst <= values["tolerance"].as<double>() &&
                 worst_clean <= values["tolerance"].as<double>()
             ? 0
             : 1;
}

}  // namespace factflow
