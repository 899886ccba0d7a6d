// Activation patching as `trace` asks for it: every token from the subject on times every layer, of
// one site or of all, restored into a run of another subject; random weights at published shapes,
// against the floor, the same matrix products alone. Everything in one run on one device, medians.
// Answers that are not finite, that change from one run to the next, or that whole forwards do not
// confirm (model/replay/self_check.hpp), are an error (exit code 1).
#include <iostream>

#include <boost/program_options.hpp>
#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "bench/product_floor.hpp"
#include "bench/rates.hpp"
#include "bench/requests.hpp"
#include "bench/run_main.hpp"
#include "bench/shapes.hpp"
#include "bench/whole_forwards.hpp"
#include "model/device.hpp"
#include "model/replay/self_check.hpp"
#include "model/threads.hpp"

namespace factflow {
namespace {

namespace po = boost::program_options;

// Sharma et al. 2024: h by single layers, all other sites in windows of ten layers about theirs.
constexpr int kWindow = 10;

std::vector<Window> windows_of(Site site, int layers) {
  std::vector<Window> windows;
  if (site == Site::kH)
    for (int layer = 0; layer <= layers; ++layer) windows.push_back({layer, layer + 1});
  else
    for (int layer = 0; layer < layers; ++layer)
      windows.push_back({std::max(0, layer - kWindow / 2), std::min(layers, layer + kWindow / 2)});
  return windows;
}

// The published sites of a Mamba and of a Transformer.
std::vector<Site> traced_sites(const Architecture& architecture) {
  std::vector<Site> traced;
  for (const Site site : architecture.sites())
    for (const Site one : {Site::kH, Site::kA, Site::kS, Site::kG, Site::kY, Site::kO, Site::kMlp})
      if (site == one) traced.push_back(site);
  return traced;
}

// A fact: `prompt` names the subject (bench/requests.hpp), and another subject of as many tokens
// takes its place.
ReplayRequest trace_of(const ReplayRequest& prompt, const std::vector<Site>& sites, int layers,
                       int vocabulary) {
  ReplayRequest request{prompt.ids, prompt.answer, {}};
  const std::vector<int>& subject = prompt.series.front().block().sources;
  for (const int token : subject)
    request.ids[static_cast<size_t>(token)] =
        (prompt.ids[static_cast<size_t>(token)] + 1) % vocabulary;
  for (const Site site : sites)
    for (int token = subject.front(); token < static_cast<int>(request.ids.size()); ++token)
      request.series.push_back(
          Series({Write{site, {}, {token}, std::nullopt, OtherRun{prompt.ids, {token}}}},
                 windows_of(site, layers)));
  return request;
}

struct Settings {
  at::Device device;
  Precision precision;
  int facts, repeats;
  std::string rates;  // file, or empty
};

// Whether all answers were right.
bool bench_sites(const Network& network, const std::vector<ReplayRequest>& prompts,
                 const std::vector<Site>& sites, const std::string& name,
                 const Settings& settings) {
  const Architecture& architecture = network.architecture();
  std::vector<ReplayRequest> facts;
  for (const ReplayRequest& prompt : prompts)
    facts.push_back(trace_of(prompt, sites, architecture.layers, architecture.vocabulary));
  ReplayEngine engine(network);
  const SelfCheck check = check_against_reference(engine, network, facts.front());
  std::vector<ReplayResult> results = engine.run(facts), before;  // warm up
  std::int64_t wrong = 0;
  std::vector<double> seconds;
  for (int i = 0; i < settings.repeats; ++i) {
    before = std::move(results);
    engine.reset_cost();
    seconds.push_back(median_seconds(1, settings.device, [&] { results = engine.run(facts); }));
    wrong += count_not_finite(results) + count_changed(before, results);
  }
  std::sort(seconds.begin(), seconds.end());
  const double median = seconds[seconds.size() / 2];
  const ReplayCost cost = engine.cost();
  if (!settings.rates.empty() && sites == std::vector<Site>{Site::kH})
    append_rate(settings.rates, network, flops_of(network, cost) / median, "several");
  ProductFloor products(network, cost, engine.logits_rows());
  products.multiply_all();
  const double floor =
      median_seconds(settings.repeats, settings.device, [&] { products.multiply_all(); });
  const bool right = check.passed() && wrong == 0;
  const auto count = static_cast<double>(facts.size());
  std::cout << fmt::format("| {}, {} | {} | {:.0f} | {:.4f} | {:.4f} | {:.1f} % | {:.1e}{} |\n",
                           name, facts.size(), to_string(settings.precision),
                           static_cast<double>(cost.knockouts) / count, median / count,
                           floor / count, 100 * floor / median, check.largest,
                           right ? "" : " WRONG")
            << std::flush;
  return right;
}

int run_benchmark(int argc, char** argv) {
  using Words = std::vector<std::string>;
  po::options_description options("trace_bench");
  // clang-format off
  options.add_options()("help,h", "show this help")
      ("shapes", po::value<Words>()->multitoken()->default_value({"mamba-130M"}, "mamba-130M"), "as in sweep_bench")
      ("facts", po::value<int>()->default_value(16), "prompts of 4 to 30 tokens, mean 9")
      ("sites", po::value<std::string>()->default_value("both"), "h, all (a, s, g, y, o, mlp too, as far as the shape has them), or both")
      ("device", po::value<std::string>()->default_value("auto"), "auto, cpu, cuda")
      ("precision", po::value<Words>()->multitoken()->default_value({"fp32"}, "fp32"), "of fp64, fp32, tf32x3, tf32 and bf16")
      ("threads", po::value<int>()->default_value(0), "0 = all cores")
      ("rates", po::value<std::string>(), "append the rate of h of every shape to this CSV file, for `factflow plan --rates`")
      ("repeats", po::value<int>()->default_value(3), "times measured; the median counts");
  // clang-format on
  po::variables_map values;
  po::store(po::parse_command_line(argc, argv, options), values);
  po::notify(values);
  if (values.count("help") != 0) {
    std::cout << options;
    return 0;
  }
  const auto which = values["sites"].as<std::string>();
  if (which != "h" && which != "all" && which != "both")
    throw InputError("trace_bench", fmt::format("--sites {}", which), "use h, all or both");
  if (values["facts"].as<int>() < 1 || values["repeats"].as<int>() < 1)
    throw InputError("trace_bench", "--facts and --repeats are at least 1");
  set_threads(values["threads"].as<int>(), 1);
  const at::Device device = choose_device(values["device"].as<std::string>());
  std::cout << fmt::format(
      "{}; {}\n\n| shape, sites, facts | | answers a fact | s a fact | floor s | floor/trace | off "
      "|\n|---|---|---|---|---|---|---|\n",
      describe(device), library_versions());
  bool right = true;
  for (const std::string& name : values["shapes"].as<Words>())
    for (const std::string& precision : values["precision"].as<Words>()) {
      const Settings settings{device, parse_precision(precision), values["facts"].as<int>(),
                              values["repeats"].as<int>(),
                              values.count("rates") != 0 ? values["rates"].as<std::string>() : ""};
      const Architecture architecture = bench_architecture(shape_named(name, "trace_bench"));
      const auto network = Network::random(architecture, device, settings.precision, kBenchSeed);
      const std::vector<ReplayRequest> prompts = make_requests(settings.facts, architecture, {1});
      if (which != "all")
        right = bench_sites(*network, prompts, {Site::kH}, name + ", h", settings) && right;
      if (which != "h")
        right =
            bench_sites(*network, prompts, traced_sites(architecture), name + ", all", settings) &&
            right;
    }
  return right ? 0 : 1;
}

}  // namespace
}  // namespace factflow

int main(int argc, char** argv) {
  return factflow::run_main([&] { return factflow::run_benchmark(argc, argv); });
}
