// What interventions cost beside plain knockouts, per column and layer that is replayed, and what
// reading costs beside its bytes. Random weights at published shapes, replays of the last token
// that an intervention touches in every layer from its first one on; everything in one run on one
// device, medians. Every kind is held against whole forwards first (model/replay/self_check.hpp);
// one that is not right is an error (exit code 1).
#include <iostream>

#include <boost/program_options.hpp>
#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
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

struct Kind {
  std::string name;
  std::vector<Intervention> interventions;  // whose tokens and other run requests_of() fills in
};

bool has(const Architecture& architecture, Site site) {
  const std::vector<Site> sites = architecture.sites();
  return std::find(sites.begin(), sites.end(), site) != sites.end();
}

// The first is the plain knockout.
std::vector<Kind> kinds_of(const Architecture& architecture) {
  std::vector<Kind> kinds = {{"knockout", {Block{}}}};
  Block block;
  if (architecture.taps() > 0) {
    block.through = Block::Through::kConvolution;
    kinds.push_back({"through convolution", {block}});
    block.through = Block::Through::kMixer;
    kinds.push_back({"through mixer", {block}});
  }
  for (const Site site : {Site::kA, Site::kConv, Site::kG, Site::kS, Site::kY, Site::kO,
                          Site::kMlpHidden, Site::kMlp, Site::kH}) {
    if (!has(architecture, site)) continue;
    Write write;
    write.site = site;
    write.value = OtherRun{};
    kinds.push_back({to_string(site) + " of another run", {write}});
  }
  return kinds;
}

// Each prompt with one kind of run, from every layer to the top, a few times over.
std::vector<ReplayRequest> requests_of(const std::vector<ReplayRequest>& prompts, int layers,
                                       const Kind& kind) {
  std::vector<Window> windows;
  for (int begin = 0; begin < layers; ++begin) windows.push_back({begin, layers});
  std::vector<ReplayRequest> requests;
  for (size_t i = 0; i < prompts.size(); ++i) {
    const ReplayRequest& prompt = prompts[i];
    const ReplayRequest& other = prompts[(i + 1) % prompts.size()];
    const int last = static_cast<int>(prompt.ids.size()) - 1;
    ReplayRequest request{prompt.ids, prompt.answer};
    // Runs that are equal are computed once: the sources, or the other run's token, tell them
    // apart.
    for (int which = 1; which <= 3; ++which) {
      std::vector<Intervention> together = kind.interventions;
      for (Intervention& one : together) {
        if (auto* block = std::get_if<Block>(&one)) {
          block->targets = {last};
          block->sources = {last - which};
        } else {
          auto& write = std::get<Write>(one);
          write.tokens = {last};
          write.value = OtherRun{other.ids, {which - 1}};
        }
      }
      request.series.push_back({std::move(together), windows});
    }
    requests.push_back(std::move(request));
  }
  return requests;
}

struct Settings {
  at::Device device;
  Precision precision;
  int prompts, repeats;
};

double rate_of(ReplayEngine& engine, const std::vector<ReplayRequest>& requests,
               const Settings& settings) {
  engine.run(requests);  // warm up
  engine.reset_cost();
  engine.run(requests);
  const auto columns = static_cast<double>(engine.cost().column_layers);
  return columns / median_seconds(settings.repeats, settings.device, [&] { engine.run(requests); });
}

bool bench_kinds(const Network& network, const std::vector<ReplayRequest>& prompts,
                 const Settings& settings, const std::string& shape) {
  const Architecture& architecture = network.architecture();
  bool right = true;
  double plain = 0;
  for (const Kind& kind : kinds_of(architecture)) {
    ReplayEngine engine(network);
    const std::vector<ReplayRequest> requests = requests_of(prompts, architecture.layers, kind);
    const SelfCheck check = check_against_reference(engine, network, requests.front());
    const double rate = rate_of(engine, requests, settings);
    if (plain == 0) plain = rate;
    right = right && check.passed();
    std::cout << fmt::format("| {} | {} | {} | {:.3g} | {:.1f} % | {:.1e}{} |\n", shape,
                             to_string(settings.precision), kind.name, rate, 100 * rate / plain,
                             check.largest, check.passed() ? "" : " WRONG")
              << std::flush;
  }
  return right;
}

// Every token of every prompt in every layer, at one site, against the clean runs alone.
void bench_reads(const Network& network, std::vector<ReplayRequest> prompts,
                 const Settings& settings, const std::string& shape) {
  const Architecture& architecture = network.architecture();
  ReplayEngine engine(network);
  const auto seconds = [&](ReadsOn place) {
    engine.run(prompts, 0, place);
    return median_seconds(settings.repeats, settings.device,
                          [&] { engine.run(prompts, 0, place); });
  };
  const double clean = seconds(ReadsOn::kDevice);
  for (const Site site : {Site::kH, Site::kY, Site::kMlpHidden}) {
    if (!has(architecture, site)) continue;
    double bytes = 0;
    for (ReplayRequest& prompt : prompts) {
      prompt.reads.clear();
      for (int layer = 0; layer < architecture.layers; ++layer)
        for (int token = 0; token < static_cast<int>(prompt.ids.size()); ++token)
          prompt.reads.push_back({{site, layer}, token, std::nullopt});
    }
    for (const ReplayResult& result : engine.run(prompts, 0, ReadsOn::kDevice))
      for (const ReadValue& read : result.reads)
        bytes +=
            static_cast<double>(read.rows.size(1)) * static_cast<double>(read.rows.element_size());
    for (const auto& [place, name] :
         {std::pair{ReadsOn::kDevice, "device"}, std::pair{ReadsOn::kHost, "host"}}) {
      const double more = seconds(place) - clean;
      std::cout
          << fmt::format(
                 "| {} | {} | {} to the {} | {:.3g} MB | {:.4f} s on {:.4f} s | {:.2g} GB/s |\n",
                 shape, to_string(settings.precision), to_string(site), name, bytes / 1e6, more,
                 clean, bytes / more / 1e9)
          << std::flush;
    }
  }
}

int run_benchmark(int argc, char** argv) {
  using Words = std::vector<std::string>;
  po::options_description options("intervention_bench");
  // clang-format off
  options.add_options()("help,h", "show this help")
      ("shapes", po::value<Words>()->multitoken()->default_value({"mamba-130M"}, "mamba-130M"), "as in sweep_bench")
      ("prompts", po::value<int>()->default_value(16), "prompts of 4 to 30 tokens, mean 9")
      ("device", po::value<std::string>()->default_value("auto"), "auto, cpu, cuda")
      ("precision", po::value<Words>()->multitoken()->default_value({"fp32"}, "fp32"), "of fp64, fp32, tf32x3, tf32 and bf16")
      ("threads", po::value<int>()->default_value(0), "0 = all cores")
      ("repeats", po::value<int>()->default_value(3), "times measured; the median counts");
  // clang-format on
  po::variables_map values;
  po::store(po::parse_command_line(argc, argv, options), values);
  po::notify(values);
  if (values.count("help") != 0) {
    std::cout << options;
    return 0;
  }
  set_threads(values["threads"].as<int>(), 1);
  bool right = true;
  for (const std::string& name : values["shapes"].as<Words>())
    for (const std::string& precision : values["precision"].as<Words>()) {
      const Settings settings{choose_device(values["device"].as<std::string>()),
                              parse_precision(precision), values["prompts"].as<int>(),
                              values["repeats"].as<int>()};
      const Architecture architecture = bench_architecture(shape_named(name, "intervention_bench"));
      const auto network =
          Network::random(architecture, settings.device, settings.precision, kBenchSeed);
      std::vector<ReplayRequest> prompts = make_requests(settings.prompts, architecture, {1});
      for (ReplayRequest& prompt : prompts) prompt.series.clear();
      std::cout << fmt::format(
          "\n{}; {}\n\n| shape | | | columns x layers / s | of plain | off |\n"
          "|---|---|---|---|---|---|\n",
          describe(settings.device), library_versions());
      right = bench_kinds(*network, prompts, settings, name) && right;
      std::cout << "\n| shape | | read | bytes | more | rate |\n|---|---|---|---|---|---|\n";
      bench_reads(*network, prompts, settings, name);
    }
  return right ? 0 : 1;
}

}  // namespace
}  // namespace factflow

int main(int argc, char** argv) {
  return factflow::run_main([&] { return factflow::run_benchmark(argc, argv); });
}
