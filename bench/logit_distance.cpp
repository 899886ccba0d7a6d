// How far the logits of each family's checkpoint are from the oracle's (tests/oracle), per
// precision. Logits are compared after the log-softmax: what all of them have in common changes no
// probability and cannot be read off the engine.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>
#include <set>

#include <boost/program_options.hpp>
#include <fmt/format.h>

#include "base/error.hpp"
#include "bench/run_main.hpp"
#include "model/device.hpp"
#include "model/oracle_cases.hpp"
#include "model/threads.hpp"

namespace factflow {
namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

struct Distance {
  double absolute = 0;  // largest difference of a logit
  double relative = 0;  // the same over the range of the prompt's logits
};

double log_sum_exp(const std::vector<double>& logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit - largest);
  return largest + std::log(sum);
}

Distance distance_between(const std::vector<TopToken>& all_tokens,
                          const std::vector<double>& logits) {
  if (all_tokens.size() != logits.size()) throw std::logic_error("the engine left tokens out");
  const double total = log_sum_exp(logits);
  const auto [smallest, largest] = std::minmax_element(logits.begin(), logits.end());
  Distance distance;
  for (const TopToken& token : all_tokens) {
    const double difference =
        std::abs(std::log(token.probability) - (logits[static_cast<size_t>(token.token)] - total));
    distance.absolute = std::isnan(difference) ? std::numeric_limits<double>::infinity()
                                               : std::max(distance.absolute, difference);
  }
  distance.relative = distance.absolute / (*largest - *smallest);
  return distance;
}

// The largest over all prompts of a directory of cases.
Distance measure(const fs::path& model, const fs::path& answers, at::Device device,
                 Precision precision) {
  const auto network = Network::load(
      std::make_shared<const Checkpoint>(Checkpoint::open(model.string())), device, precision);
  const int vocabulary = network->architecture().vocabulary;
  std::vector<OracleCase> cases = read_oracle_cases(answers, vocabulary);
  std::vector<ReplayRequest> requests;
  for (OracleCase& one : cases) {
    if (one.clean_logits.empty()) throw InputError(answers.string(), "has no clean_logits");
    one.request.series.clear();
    requests.push_back(one.request);
  }
  const std::vector<ReplayResult> results = ReplayEngine(*network, 0).run(requests, vocabulary);
  Distance worst;
  for (size_t i = 0; i < cases.size(); ++i) {
    const Distance one = distance_between(results[i].top, cases[i].clean_logits);
    worst = {std::max(worst.absolute, one.absolute), std::max(worst.relative, one.relative)};
  }
  return worst;
}

// Directories saved by the mamba_ssm library have the answers of their twins.
fs::path answers_of(const fs::path& model) {
  const std::string name = model.filename().string();
  return model.parent_path() / name.substr(0, name.find("_original")) / "cases.json";
}

int run(int argc, char** argv) {
  po::options_description options("logit_distance");
  options.add_options()("help,h", "show this help")(
      "cases", po::value<std::string>()->default_value("tests/oracle/cases"),
      "directory of checkpoints with cases.json")(
      "device", po::value<std::string>()->default_value("auto"), "auto, cpu, cuda or cuda:N")(
      "precisions", po::value<std::vector<std::string>>()->multitoken(),
      "default fp64 fp32 on a CPU, fp32 tf32 on a GPU");
  po::variables_map values;
  po::store(po::parse_command_line(argc, argv, options), values);
  po::notify(values);
  if (values.count("help") != 0) {
    std::cout << options;
    return 0;
  }
  set_threads(0, 1);
  const at::Device device = choose_device(values["device"].as<std::string>());
  std::vector<std::string> precisions = device.is_cpu() ? std::vector<std::string>{"fp64", "fp32"}
                                                        : std::vector<std::string>{"fp32", "tf32"};
  if (values.count("precisions") != 0)
    precisions = values["precisions"].as<std::vector<std::string>>();
  std::cout << fmt::format("{}; {}\n| directory |", describe(device), library_versions());
  for (const std::string& precision : precisions)
    std::cout << fmt::format(" {0}: logit | {0}: of their range |", precision);
  std::cout << '\n';
  std::set<fs::path> models;
  for (const fs::directory_entry& entry : fs::directory_iterator(values["cases"].as<std::string>()))
    if (fs::exists(entry.path() / "config.json")) models.insert(entry.path());
  for (const fs::path& model : models) {
    std::cout << fmt::format("| {} |", model.filename().string());
    for (const std::string& precision : precisions) {
      const Distance distance =
          measure(model, answers_of(model), device, parse_precision(precision));
      std::cout << fmt::format(" {:.1e} | {:.1e} |", distance.absolute, distance.relative);
    }
    std::cout << '\n';
  }
  return 0;
}

}  // namespace
}  // namespace factflow

int main(int argc, char** argv) {
  return factflow::run_main([&] { return factflow::run(argc, argv); });
}
