// A sweep over all starts of a window, of random weights at published shapes, against
// - the floor: the same matrix products alone, clean run and vocabulary included;
// - whole forwards, one at a time (a) and batched (b), the latter beside its bound: how many times
//   more products they are.
// Everything in one run on one device; medians. Answers that are not finite, that change from one
// sweep to the next, or that are further from whole forwards of another make than their precision
// explains, are an error (exit code 1).
#include <algorithm>
#include <chrono>
#include <iostream>
#include <map>
#include <random>

#include <boost/program_options.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "bench/product_floor.hpp"
#include "bench/rates.hpp"
#include "bench/requests.hpp"
#include "bench/run_main.hpp"
#include "bench/shapes.hpp"
#include "bench/whole_forwards.hpp"
#include "model/device.hpp"
#include "model/replay/replay.hpp"
#include "model/threads.hpp"

namespace factflow {
namespace {

namespace po = boost::program_options;

// One line of the table: a shape in one precision.
struct Measurement {
  Precision precision;
  double sweep = 0, floor = 0, single = 0, batched = 0;  // seconds: whole, whole, each, each
  double bound = 0;  // how many times less arithmetic a knockout is than a whole forward
  double knockouts = 0;
  double off = 0;               // largest distance of a whole forward
  std::int64_t not_finite = 0;  // answers, of every sweep that was timed
  std::int64_t changed = 0;     // answers that are not those of the sweep before, bit for bit
  std::int64_t peak = 0;        // bytes
};

const char* const kHeader =
    "| shape, prompts | knockouts | | sweep s | floor s | floor/sweep | knockouts/s | x (a) | x "
    "(b) "
    "| bound | x ref | peak GiB | off |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";

std::string line_of(const BenchShape& shape, size_t prompts, const Measurement& m) {
  const double rate = m.knockouts / m.sweep;
  return fmt::format(
      "| {}, {} | {:.0f} | {} | {:.3f} | {:.3f} | {:.1f} % | {:.0f} | {:.0f} | {:.1f} | {:.1f} | "
      "{} | "
      "{:.1f} "
      "| {:.1e} |\n",
      shape.name, prompts, m.knockouts, to_string(m.precision), m.sweep, m.floor,
      100 * m.floor / m.sweep, rate, rate * m.single, rate * m.batched, m.bound,
      shape.reference_seconds > 0 ? fmt::format("{:.0f}", rate * shape.reference_seconds) : "",
      static_cast<double>(m.peak) / (1 << 30), m.off);
}

// Whole forwards by the engine itself: (a) one at a time, (b) batched. Returns the products of one,
// on average.
double time_whole_forwards(const Network& network, ReplayEngine& engine,
                           std::vector<ReplayRequest> clean, at::Device device, Measurement& m) {
  for (ReplayRequest& request : clean) request.series.clear();
  const size_t singles = std::min<size_t>(clean.size(), device.is_cpu() ? 12 : 50);
  m.single = median_seconds(3, device,
                            [&] {
                              for (size_t i = 0; i < singles; ++i) engine.run({&clean[i], 1});
                            }) /
             static_cast<double>(singles);
  const auto count = static_cast<double>(clean.size());
  m.batched = median_seconds(3, device, [&] { engine.run(clean); }) / count;
  engine.reset_cost();
  engine.run(clean);
  return flops_of(network, engine.cost()) / count;
}

struct Settings {
  at::Device device;
  std::vector<Precision> precisions;
  std::vector<int> windows;
  int prompts, repeats, parts;
  std::int64_t memory_limit, rows_per_pass;
  std::string rates;  // file, or empty
};

Measurement measure(const BenchShape& shape, const std::vector<ReplayRequest>& requests,
                    const WholeForwards& forwards, Precision precision, const Settings& settings) {
  restart_peak_memory(settings.device);
  const auto network =
      Network::random(bench_architecture(shape), settings.device, precision, kBenchSeed);
  ReplayEngine engine(*network, settings.memory_limit, settings.rows_per_pass);
  engine.run(std::span(requests).first(std::min<size_t>(requests.size(), 8)));  // warm up
  Measurement m{precision};
  std::vector<ReplayResult> results, before;
  std::vector<double> seconds;
  for (int i = 0; i < settings.repeats; ++i) {
    engine.reset_cost();
    seconds.push_back(median_seconds(1, settings.device, [&] { results = engine.run(requests); }));
    m.not_finite += count_not_finite(results);
    if (i > 0) m.changed += count_changed(before, results);
    before = results;
    m.off = std::max(m.off, forwards.distance(results));
  }
  std::sort(seconds.begin(), seconds.end());
  m.sweep = seconds[seconds.size() / 2];
  m.peak = peak_memory(settings.device);
  const ReplayCost cost = engine.cost();
  m.knockouts = static_cast<double>(cost.knockouts);
  if (!settings.rates.empty())
    append_rate(settings.rates, *network, flops_of(*network, cost) / m.sweep, "one");
  ProductFloor products(*network, cost, engine.logits_rows());
  m.floor = median_seconds(settings.repeats, settings.device, [&] { products.multiply_all(); });
  m.bound = time_whole_forwards(*network, engine, requests, settings.device, m) * m.knockouts /
            flops_of(*network, cost);
  return m;
}

// Whether all answers were right.
bool bench(const BenchShape& shape, const Settings& settings) {
  const std::vector<ReplayRequest> requests =
      make_requests(settings.prompts, bench_architecture(shape), settings.windows, settings.parts);
  std::map<at::ScalarType, WholeForwards> forwards;  // by the type of the weights
  bool right = true;
  for (const Precision precision : settings.precisions) {
    const auto known = forwards
                           .try_emplace(wide_type(precision), shape, settings.device, precision,
                                        std::span(requests))
                           .first;
    const Measurement m = measure(shape, requests, known->second, precision, settings);
    std::cout << line_of(shape, requests.size(), m) << std::flush;
    const double most = tolerance(shape.tolerances, precision);
    if (m.not_finite == 0 && m.changed == 0 && m.off <= most) continue;
    right = false;
    std::cerr << fmt::format(
        "{} in {}: {} answers are not finite, {} changed from one sweep to the next, and of those "
        "that were computed anew the worst is off by {:.1e} ({:.0e} is what the precision may "
        "cost)\n",
        shape.name, to_string(precision), m.not_finite, m.changed, m.off, most);
  }
  return right;
}

Settings settings_of(const po::variables_map& values) {
  Settings settings{choose_device(values["device"].as<std::string>()),
                    {},
                    values["windows"].as<std::vector<int>>(),
                    values["prompts"].as<int>(),
                    values["repeats"].as<int>(),
                    values["parts"].as<int>(),
                    values["memory-limit"].as<std::int64_t>(),
                    values["rows-per-pass"].as<std::int64_t>(),
                    values.count("rates") != 0 ? values["rates"].as<std::string>() : ""};
  if (settings.prompts < 1 || settings.repeats < 1 || settings.parts < 0)
    throw InputError("sweep_bench", "--prompts and --repeats are at least 1, --parts at least 0");
  for (const std::string& name : values["precision"].as<std::vector<std::string>>())
    settings.precisions.push_back(parse_precision(name));
  return settings;
}

int run_benchmark(int argc, char** argv) {
  using Words = std::vector<std::string>;
  po::options_description options("sweep_bench");
  // clang-format off
  options.add_options()("help,h", "show this help")
      ("shapes", po::value<Words>()->multitoken()->default_value({"mamba-130M"}, "mamba-130M"), ("of " + join(shape_names())).c_str())
      ("prompts", po::value<int>()->default_value(16), "prompts of 4 to 30 tokens, mean 9")
      ("windows", po::value<std::vector<int>>()->multitoken()->default_value({9}, "9"), "window sizes; all starts")
      ("parts", po::value<int>()->default_value(0), "instead of four edges, the subject's to the last token in so many parts: heads, or groups of channels")
      ("device", po::value<std::string>()->default_value("auto"), "auto, cpu, cuda")
      ("precision", po::value<Words>()->multitoken()->default_value({"fp32"}, "fp32"), "of fp64, fp32, tf32x3, tf32 and bf16")
      ("threads", po::value<int>()->default_value(0), "0 = all cores")
      ("memory-limit", po::value<std::int64_t>()->default_value(0), "bytes; 0 = automatic")
      ("rows-per-pass", po::value<std::int64_t>()->default_value(0), "rows that climb together; 0 = automatic")
      ("rates", po::value<std::string>(), "append the rate of every shape to this CSV file, for `factflow plan --rates`")
      ("repeats", po::value<int>()->default_value(3), "times measured; the median counts")
      ("no-header", po::bool_switch(), "lines of the table alone");
  // clang-format on
  po::variables_map values;
  po::store(po::parse_command_line(argc, argv, options), values);
  po::notify(values);
  if (values.count("help") != 0) {
    std::cout << options;
    return 0;
  }
  set_threads(values["threads"].as<int>(), 1);
  const Settings settings = settings_of(values);
  if (!values["no-header"].as<bool>())
    std::cout << fmt::format("{}; {}; windows {}\n\n", describe(settings.device),
                             library_versions(), fmt::join(settings.windows, " "))
              << kHeader << std::flush;
  bool right = true;
  for (const std::string& name : values["shapes"].as<Words>())
    right = bench(shape_named(name, "sweep_bench"), settings) && right;
  return right ? 0 : 1;
}

}  // namespace
}  // namespace factflow

int main(int argc, char** argv) {
  return factflow::run_main([&] { return factflow::run_benchmark(argc, argv); });
}
