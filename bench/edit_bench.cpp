// What an edit of a fact costs beside others and alone, and what the covariance of a matrix's keys
// costs. Facts of random tokens. Every answer is checked: each edit maps its key to its value, a
// fact's first gradient beside others is that of the fact alone, and a covariance is the mean of
// its runs'; one that is not right is an error (exit code 1).
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <random>

#include <boost/program_options.hpp>
#include <fmt/format.h>

#include "base/error.hpp"
#include "bench/requests.hpp"
#include "bench/run_main.hpp"
#include "bench/shapes.hpp"
#include "bench/whole_forwards.hpp"
#include "model/device.hpp"
#include "model/edit/rome.hpp"
#include "model/threads.hpp"

namespace factflow {
namespace {

namespace po = boost::program_options;

struct Settings {
  at::Device device;
  Precision precision;
  int facts, alone, contexts, iterations, tokens, run_length;
  std::vector<EditedMatrix> matrices;  // those of them that the model has
  // Of differences that are rounding.
  double allowed() const { return precision == Precision::kFp64 ? 1e-9 : 2e-2; }
};

std::vector<int> random_ids(std::mt19937& random, int count, int vocabulary) {
  std::vector<int> ids;
  for (int i = 0; i < count; ++i)
    ids.push_back(static_cast<int>(random() % static_cast<unsigned>(vocabulary)));
  return ids;
}

// Prompts of 6 to 12 tokens, contexts of up to 10.
std::vector<EditRequest> facts_of(const Architecture& architecture, const Settings& settings) {
  std::mt19937 random(kBenchSeed);
  std::vector<EditRequest> facts;
  for (int i = 0; i < settings.facts; ++i) {
    EditRequest& fact = facts.emplace_back();
    const auto ids = [&](int count) { return random_ids(random, count, architecture.vocabulary); };
    fact.prompt = ids(6 + static_cast<int>(random() % 7));
    fact.subject_last = 3;
    fact.target = ids(1 + i % 2);
    fact.contexts = {{}};
    for (int c = 1; c < settings.contexts; ++c) fact.contexts.push_back(ids(1 + (3 * c) % 10));
    fact.essence = ids(5);
    fact.essence_subject_last = 2;
  }
  return facts;
}

std::unique_ptr<Network> network_of(const std::string& name, const Settings& settings) {
  if (std::filesystem::is_directory(name))
    return Network::load(std::make_shared<const Checkpoint>(Checkpoint::open(name)),
                         settings.device, settings.precision);
  return Network::random(bench_architecture(shape_named(name, "edit_bench")), settings.device,
                         settings.precision, kBenchSeed);
}

std::vector<EditedMatrix> matrices_of(const Network& network, int layer, const Settings& settings) {
  std::vector<EditedMatrix> found;
  for (const EditedMatrix matrix : settings.matrices) {
    try {
      network.editable(layer, matrix);
      found.push_back(matrix);
    } catch (const std::invalid_argument&) {  // this family has no such matrix
    }
  }
  return found;
}

double distance(const at::Tensor& found, const at::Tensor& expected) {
  return ((found - expected).norm() / expected.norm()).item<double>();
}

// The largest difference of what is to be the same.
double edits_off(Network& network, const EditSlot& slot, const std::vector<EditRequest>& facts,
                 const std::vector<RomeEdit>& edits, const std::vector<RomeEdit>& alone) {
  double off = 0;
  for (size_t i = 0; i < alone.size(); ++i) {
    off = std::max(off, distance(edits[i].first_gradient, alone[i].first_gradient));
    const AppliedEdit applied(network, slot, edits[i].delta());
    const PromptToken subject{facts[i].prompt, facts[i].subject_last};
    off = std::max(off, distance(slot.values({&subject, 1}).outputs[0], edits[i].v_star));
  }
  return off;
}

bool bench_edits(Network& network, const std::string& name, const Settings& settings) {
  const int layer = network.architecture().layers / 2;
  const std::vector<EditRequest> facts = facts_of(network.architecture(), settings);
  EditSettings search;
  search.iterations = settings.iterations;
  search.stop_loss = 0;  // every fact goes all the way
  search.stop_prob.reset();
  bool right = true;
  for (const EditedMatrix matrix : matrices_of(network, layer, settings)) {
    const EditSlot slot(network, matrix, layer);
    rome_edits(network, matrix, layer, {facts.data(), 1}, {}, search);  // warm up
    std::vector<RomeEdit> edits, alone;
    const double together =
        median_seconds(1, settings.device,
                       [&] { edits = rome_edits(network, matrix, layer, facts, {}, search); }) /
        settings.facts;
    const double apart =
        median_seconds(
            1, settings.device,
            [&] {
              for (int i = 0; i < settings.alone; ++i)
                alone.push_back(rome_edits(network, matrix, layer,
                                           {&facts[static_cast<size_t>(i)], 1}, {}, search)
                                    .front());
            }) /
        settings.alone;
    const double off = edits_off(network, slot, facts, edits, alone);
    const bool fits = off <= settings.allowed();
    right = right && fits;
    std::cout << fmt::format("| {} | {} | {} of layer {} | {:.4f} | {:.4f} | {:.1f} | {:.1e}{} |\n",
                             name, to_string(settings.precision), to_string(matrix), layer,
                             together, apart, apart / together, off, fits ? "" : " WRONG")
              << std::flush;
  }
  return right;
}

// The covariance again, as the mean of those of shares of the runs.
at::Tensor mean_of_shares(const EditSlot& slot, const std::vector<std::vector<int>>& runs) {
  constexpr std::size_t kShares = 7;
  at::Tensor sum;
  for (std::size_t share = 0; share < std::min(kShares, runs.size()); ++share) {
    std::vector<std::vector<int>> own;
    for (std::size_t i = share; i < runs.size(); i += kShares) own.push_back(runs[i]);
    const at::Tensor weighted = key_covariance(slot, own, 0) * static_cast<double>(own.size());
    sum = sum.defined() ? sum + weighted : weighted;
  }
  return sum / static_cast<double>(runs.size());
}

bool bench_covariance(const Network& network, const std::string& name, const Settings& settings) {
  const int layer = network.architecture().layers / 2;
  std::mt19937 random(kBenchSeed);
  std::vector<std::vector<int>> runs;
  for (int tokens = 0; tokens < settings.tokens; tokens += settings.run_length)
    runs.push_back(random_ids(random, settings.run_length, network.architecture().vocabulary));
  bool right = true;
  for (const EditedMatrix matrix : matrices_of(network, layer, settings)) {
    const EditSlot slot(network, matrix, layer);
    at::Tensor c;
    const double seconds =
        median_seconds(1, settings.device, [&] { c = key_covariance(slot, runs, 0); });
    const double off = distance(mean_of_shares(slot, runs), c);
    const bool fits = off <= settings.allowed();
    right = right && fits;
    std::cout << fmt::format("| {} | {} | {} of layer {}, {} wide | {} | {:.2f} | {:.1e}{} |\n",
                             name, to_string(settings.precision), to_string(matrix), layer,
                             c.size(0), runs.size() * static_cast<size_t>(settings.run_length),
                             seconds, off, fits ? "" : " WRONG")
              << std::flush;
  }
  return right;
}

int run_benchmark(int argc, char** argv) {
  using Words = std::vector<std::string>;
  po::options_description options("edit_bench");
  // clang-format off
  options.add_options()("help,h", "show this help")
      ("models", po::value<Words>()->multitoken()->default_value({"mamba-130M"}, "mamba-130M"), "directories of checkpoints, or shapes as in sweep_bench, with random weights")
      ("facts", po::value<int>()->default_value(50), "facts that are edited side by side")
      ("alone", po::value<int>()->default_value(10), "how many of them are edited one by one as well")
      ("contexts", po::value<int>()->default_value(6), "contexts of a fact")
      ("iterations", po::value<int>()->default_value(20), "evaluations of the loss")
      ("tokens", po::value<int>()->default_value(20000), "of a covariance")
      ("run-length", po::value<int>()->default_value(50), "tokens of one of its runs")
      ("matrices", po::value<Words>()->multitoken()->default_value({"W_a", "W_g", "W_o", "W_down"}, "W_a W_g W_o W_down"), "those of them that a model has")
      ("device", po::value<std::string>()->default_value("auto"), "auto, cpu, cuda")
      ("precision", po::value<Words>()->multitoken()->default_value({"fp32"}, "fp32"), "of fp64, fp32 and tf32")
      ("threads", po::value<int>()->default_value(0), "0 = all cores");
  // clang-format on
  po::variables_map values;
  po::store(po::parse_command_line(argc, argv, options), values);
  po::notify(values);
  if (values.count("help") != 0) {
    std::cout << options;
    return 0;
  }
  set_threads(values["threads"].as<int>(), 1);
  const auto number = [&](const char* name) { return values[name].as<int>(); };
  std::vector<EditedMatrix> matrices;
  for (const std::string& name : values["matrices"].as<Words>())
    matrices.push_back(parse_edited_matrix(name));
  bool right = true;
  for (const std::string& name : values["models"].as<Words>())
    for (const std::string& precision : values["precision"].as<Words>()) {
      const int facts = number("facts");
      const Settings settings{choose_device(values["device"].as<std::string>()),
                              parse_precision(precision),
                              facts,
                              std::min(number("alone"), facts),
                              number("contexts"),
                              number("iterations"),
                              number("tokens"),
                              number("run-length"),
                              matrices};
      const auto network = network_of(name, settings);
      std::cout << fmt::format(
          "\n{}; {}\n\n| model | | matrix | s an edit, {} together | alone | times | off |\n"
          "|---|---|---|---|---|---|---|\n",
          describe(settings.device), library_versions(), settings.facts);
      right = bench_edits(*network, name, settings) && right;
      std::cout << "\n| model | | covariance | tokens | s | off |\n|---|---|---|---|---|---|\n";
      right = bench_covariance(*network, name, settings) && right;
    }
  return right ? 0 : 1;
}

}  // namespace
}  // namespace factflow

int main(int argc, char** argv) {
  return factflow::run_main([&] { return factflow::run_benchmark(argc, argv); });
}
