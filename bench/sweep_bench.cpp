// A sweep over all starts of a window, of random weights at published shapes, against
// - the floor: the same matrix products alone, clean run and vocabulary included;
// - whole forwards, one at a time (a) and batched (b).
// Everything in one run on one device; medians.
#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <map>
#include <random>

#include <boost/program_options.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "bench/run_main.hpp"
#include "bench/shapes.hpp"
#include "model/device.hpp"
#include "model/replay.hpp"

namespace factflow {
namespace {

namespace po = boost::program_options;

// COUNTERFACT-like lengths: 4 to 30 tokens, mean about 9. The subject is three tokens somewhere
// before the last.
std::vector<ReplayRequest> make_requests(int prompts, const Architecture& architecture,
                                         const std::vector<int>& sizes) {
  std::mt19937 generator(1);
  std::gamma_distribution<double> length_of(2.2, 2.4);
  std::vector<Window> windows;
  for (const int size : sizes)
    for (int start = 0; start + size <= architecture.layers; ++start)
      windows.push_back({start, start + size});
  std::vector<ReplayRequest> requests;
  for (int i = 0; i < prompts; ++i) {
    const int length = std::clamp(4 + static_cast<int>(length_of(generator)), 4, 30);
    ReplayRequest request;
    for (int t = 0; t < length; ++t)
      request.ids.push_back(
          static_cast<int>(generator() % static_cast<unsigned>(architecture.vocabulary)));
    request.answer = request.ids[0];
    const int subject = static_cast<int>(generator() % static_cast<unsigned>(length - 3));
    std::vector<int> inside, outside;
    for (int t = 0; t < length; ++t)
      (t >= subject && t < subject + 3 ? inside : outside).push_back(t);
    const std::vector<int> last = {length - 1};
    for (const std::vector<int>& sources : {inside, outside, last, std::vector<int>{0}})
      request.cuts.push_back({last, sources, {}, windows});
    requests.push_back(std::move(request));
  }
  return requests;
}

template <class Function>
double median_seconds(int repeats, at::Device device, Function function) {
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) {
    synchronise(device);
    const auto start = std::chrono::steady_clock::now();
    function();
    synchronise(device);
    times.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

// The matrix products of the recorded passes and nothing else, with the number types of the
// sweep's. Inputs are taken from one large factor of random numbers, outputs go to one matrix or
// are added to another one.
class Floor {
 public:
  Floor(const Network& network, const ReplayCost& cost, std::int64_t logits_rows)
      : network_(network),
        cost_(cost),
        logits_rows_(logits_rows),
        workspace_(network.device(), network.precision()) {
    const at::InferenceMode inference;
    for (const ReplayCost::Pass& pass : cost.passes)
      most_ = std::max<std::int64_t>(most_, pass.columns_alive.back());
    for (const LayerProduct& product : network.products(0)) prepare(*product.projection);
    head_factor_ = workspace_.head_factor("states", logits_rows, network.head().inputs());
    fill(head_factor_);
    residual_ = workspace_.wide_matrix("residual", most_, network.architecture().hidden);
    residual_.zero_();
    allow_tf32(network.precision() == Precision::kTf32 ||
               network.precision() == Precision::kTf32x3);
  }

  void multiply_all() {
    const at::InferenceMode inference;
    for (const ReplayCost::Pass& pass : cost_.passes) {
      for (int l = 0; l < network_.architecture().layers; ++l)
        for (const LayerProduct& product : network_.products(l))
          multiply_one(product, pass.columns_alive[static_cast<size_t>(l)]);
      for (std::int64_t done = 0; done < pass.rows; done += logits_rows_)
        network_.logits(head_factor_.some_rows(0, std::min(logits_rows_, pass.rows - done)),
                        workspace_);
    }
  }

 private:
  void prepare(const Projection& product) {
    if (factors_.count(product.inputs()) > 0) return;
    Factor factor =
        workspace_.factor("factor " + std::to_string(product.inputs()), most_, product.inputs());
    fill(factor);
    factors_[product.inputs()] = factor;
  }
  static void fill(const Factor& factor) {
    for (at::Tensor part : {factor.numbers, factor.high, factor.parts})
      if (part.defined()) part.normal_();
  }

  void multiply_one(const LayerProduct& product, std::int64_t columns) {
    using Into = LayerProduct::Into;
    const Projection& projection = *product.projection;
    const Factor factor = factors_.at(projection.inputs()).some_rows(0, columns);
    if (product.into == Into::kResidual)
      return multiply_into(factor, projection, {}, residual_.narrow(0, 0, columns));
    const std::int64_t padded = padded_vocabulary(projection.outputs());
    const at::Tensor out = product.into == Into::kWide
                               ? workspace_.wide_matrix("wide out", columns, padded)
                               : workspace_.matrix("out", columns, padded);
    multiply(factor, projection, {}, out.narrow(1, 0, projection.outputs()));
  }

  const Network& network_;
  const ReplayCost& cost_;
  std::int64_t logits_rows_, most_ = 1;
  Workspace workspace_;
  std::map<std::int64_t, Factor> factors_;  // by width
  Factor head_factor_;
  at::Tensor residual_;
};

// Of the matrix products.
double flops_of(const Network& network, const ReplayCost& cost) {
  double flops = 0;
  const auto product = [](const Projection& p) {
    return 2.0 * static_cast<double>(p.inputs()) * static_cast<double>(p.outputs());
  };
  for (const ReplayCost::Pass& pass : cost.passes) {
    for (int l = 0; l < network.architecture().layers; ++l)
      for (const LayerProduct& p : network.products(l))
        flops += product(*p.projection) * pass.columns_alive[static_cast<size_t>(l)];
    flops += product(network.head()) * static_cast<double>(pass.rows);
  }
  return flops;
}

// A line of the table from which `factflow plan` estimates times.
void append_rate(const std::string& file, const Network& network, at::Device device,
                 double flops_per_second) {
  const Architecture& architecture = network.architecture();
  std::ofstream out(file, std::ios::app);
  out << fmt::format("\"{}\",{},{},{},{:.4g}\n", describe(device), to_string(network.precision()),
                     architecture.mixing(), architecture.hidden, flops_per_second);
  if (!out) throw RunError(fmt::format("{}: cannot be written", file));
}

void bench(const BenchShape& shape, const po::variables_map& values) {
  const at::Device device = choose_device(values["device"].as<std::string>());
  const Precision precision = parse_precision(values["precision"].as<std::string>());
  const Architecture architecture = bench_architecture(shape);
  restart_peak_memory(device);
  const auto network = Network::random(architecture, device, precision, 1);
  std::vector<int> sizes = values["windows"].as<std::vector<int>>();
  const std::vector<ReplayRequest> requests =
      make_requests(values["prompts"].as<int>(), architecture, sizes);
  const int repeats = values["repeats"].as<int>();
  ReplayEngine engine(*network, values["memory-limit"].as<std::int64_t>(),
                      values["rows-per-pass"].as<std::int64_t>());
  engine.run(std::span(requests).first(std::min<size_t>(requests.size(), 8)));  // warm up
  const double sweep = median_seconds(repeats, device, [&] {
    engine.reset_cost();
    engine.run(requests);
  });
  const ReplayCost cost = engine.cost();
  const double flops = flops_of(*network, cost);
  if (values.count("rates") != 0)
    append_rate(values["rates"].as<std::string>(), *network, device, flops / sweep);
  if (values["sweep-only"].as<bool>()) {
    std::cout << fmt::format("{:<16} {:<6} {:>8} {:>9.3f} s, {:.4g} FLOP, {:.4g} column-layers\n",
                             shape.name, to_string(precision),
                             format_count(static_cast<double>(cost.knockouts)), sweep, flops,
                             static_cast<double>(cost.column_layers))
              << std::flush;
    return;
  }
  const std::int64_t peak = peak_memory(device);
  Floor products(*network, cost, engine.logits_rows());
  const double floor = median_seconds(repeats, device, [&] { products.multiply_all(); });
  std::vector<ReplayRequest> clean = requests;
  for (ReplayRequest& request : clean) request.cuts.clear();
  const size_t singles = std::min<size_t>(clean.size(), device.is_cpu() ? 12 : 50);
  const double single = median_seconds(3, device,
                                       [&] {
                                         for (size_t i = 0; i < singles; ++i)
                                           engine.run({&clean[i], 1});
                                       }) /
                        static_cast<double>(singles);
  const double batched =
      median_seconds(3, device, [&] { engine.run(clean); }) / static_cast<double>(clean.size());
  const auto knockouts = static_cast<double>(cost.knockouts);
  std::cout
      << fmt::format(
             "{:<16} {:<6} {:>8} {:>9.3f} {:>9.3f} {:>6.1f}% {:>9.0f} {:>11.3g} {:>9.0f} {:>9.0f} "
             "{:>8.1f} {:>8.1f} {:>8} {:>9} {:>6}\n",
             shape.name, to_string(precision), format_count(knockouts), sweep, floor,
             100 * floor / sweep, knockouts / sweep,
             static_cast<double>(cost.column_layers) / sweep, 1 / single, 1 / batched,
             knockouts / sweep * single, knockouts / sweep * batched,
             shape.reference_seconds > 0
                 ? fmt::format("{:.0f}", knockouts / sweep * shape.reference_seconds)
                 : "-",
             format_bytes(static_cast<double>(peak)), cost.passes.size())
      << std::flush;
}

int run_benchmark(int argc, char** argv) {
  po::options_description options("sweep_bench");
  std::vector<std::string> names;
  for (const BenchShape& shape : bench_shapes()) names.emplace_back(shape.name);
  // clang-format off
  options.add_options()("help,h", "show this help")
      ("shapes", po::value<std::vector<std::string>>()->multitoken()->default_value({"mamba-130M"}, "mamba-130M"), ("of " + join(names)).c_str())
      ("prompts", po::value<int>()->default_value(16), "prompts of 4 to 30 tokens, mean 9")
      ("windows", po::value<std::vector<int>>()->multitoken()->default_value({9}, "9"), "window sizes; all starts")
      ("device", po::value<std::string>()->default_value("auto"), "auto, cpu, cuda")
      ("precision", po::value<std::string>()->default_value("fp32"), "fp64, fp32, tf32x3, tf32 or bf16")
      ("threads", po::value<int>()->default_value(0), "0 = all cores")
      ("memory-limit", po::value<std::int64_t>()->default_value(0), "bytes; 0 = automatic")
      ("rows-per-pass", po::value<std::int64_t>()->default_value(0), "rows that climb together; 0 = automatic")
      ("rates", po::value<std::string>(), "append the rate of every shape to this CSV file, for `factflow plan --rates`")
      ("sweep-only", po::bool_switch(), "leave out the floor and the whole forwards")
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
  std::cout << fmt::format(
      "{}; {}; {} prompts; windows {}\n",
      describe(choose_device(values["device"].as<std::string>())), library_versions(),
      values["prompts"].as<int>(),
      fmt::format("{}", fmt::join(values["windows"].as<std::vector<int>>(), " ")));
  std::cout << fmt::format(
      "{:<16} {:<6} {:>8} {:>9} {:>9} {:>7} {:>9} {:>11} {:>9} {:>9} {:>8} {:>8} {:>8} {:>9} "
      "{:>6}\n",
      "shape", "prec", "knocks", "sweep s", "floor s", "floor/", "knocks/s", "col-layer/s",
      "(a) /s", "(b) /s", "x (a)", "x (b)", "x ref", "peak", "passes");
  for (const std::string& name : values["shapes"].as<std::vector<std::string>>()) {
    const auto found = std::find_if(bench_shapes().begin(), bench_shapes().end(),
                                    [&](const BenchShape& s) { return name == s.name; });
    if (found == bench_shapes().end())
      throw InputError("sweep_bench", unknown_word("shape", name, names));
    bench(*found, values);
  }
  return 0;
}

}  // namespace
}  // namespace factflow

int main(int argc, char** argv) {
  return factflow::run_main([&] { return factflow::run_benchmark(argc, argv); });
}
