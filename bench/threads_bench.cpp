// A sweep on the CPU with one thread and with several, in turn, in one run: seconds, their ratio,
// and whether the answers are the same. Exit code 1 if several threads are slower or their answers
// differ by more than rounding.
#include <cmath>
#include <iostream>

#include <boost/program_options.hpp>
#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "bench/requests.hpp"
#include "bench/run_main.hpp"
#include "bench/shapes.hpp"
#include "model/threads.hpp"

namespace factflow {
namespace {

namespace po = boost::program_options;

constexpr double kRounding = 1e-4;  // of a log-probability in float32
constexpr std::uint64_t kSeed = 1;  // of the weights

// The largest difference of a log-probability; infinite if one is not finite or a rank differs in
// more than what rounding may swap.
double largest_difference(const std::vector<ReplayResult>& a, const std::vector<ReplayResult>& b) {
  double largest = 0;
  const auto compare = [&](const Answer& one, const Answer& other) {
    const double difference = std::abs(one.log_probability - other.log_probability);
    largest = std::max(largest, std::isnan(difference) ? INFINITY : difference);
  };
  for (size_t r = 0; r < a.size(); ++r) {
    compare(a[r].clean, b[r].clean);
    for (size_t k = 0; k < a[r].knockouts.size(); ++k)
      for (size_t w = 0; w < a[r].knockouts[k].size(); ++w)
        compare(a[r].knockouts[k][w], b[r].knockouts[k][w]);
  }
  return largest;
}

// Whether several threads are faster and right.
bool bench(const BenchShape& shape, int threads, int prompts, int repeats) {
  const Architecture architecture = bench_architecture(shape);
  const std::vector<ReplayRequest> requests = make_requests(prompts, architecture, {9});
  const auto network = Network::random(architecture, at::kCPU, Precision::kFp32, kSeed);
  ReplayEngine engine(*network);
  std::vector<ReplayResult> alone, together;
  std::vector<double> seconds_alone, seconds_together;
  for (int i = 0; i < repeats; ++i) {  // in turn, so that a busy moment hits both
    set_threads(1, 1);
    seconds_alone.push_back(median_seconds(1, at::kCPU, [&] { alone = engine.run(requests); }));
    set_threads(threads, 1);
    seconds_together.push_back(
        median_seconds(1, at::kCPU, [&] { together = engine.run(requests); }));
  }
  std::sort(seconds_alone.begin(), seconds_alone.end());
  std::sort(seconds_together.begin(), seconds_together.end());
  const double one = seconds_alone[seconds_alone.size() / 2],
               all = seconds_together[seconds_together.size() / 2];
  const double difference = largest_difference(alone, together);
  std::cout << fmt::format("| {}, {} | {:.3f} | {:.3f} | {:.2f} | {:.1e} |\n", shape.name, prompts,
                           one, all, one / all, difference)
            << std::flush;
  return all < one && difference <= kRounding;
}

int run_benchmark(int argc, char** argv) {
  using Words = std::vector<std::string>;
  po::options_description options("threads_bench");
  // clang-format off
  options.add_options()("help,h", "show this help")
      ("shapes", po::value<Words>()->multitoken()->default_value({"mamba-130M", "gpt2-124M", "mamba2-130M"}, "mamba-130M gpt2-124M mamba2-130M"), "shapes of sweep_bench")
      ("prompts", po::value<int>()->default_value(16), "prompts of 4 to 30 tokens, mean 9")
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
  const int threads = set_threads(values["threads"].as<int>(), 1);
  for (const std::string& warning : slowness_warnings(1))
    std::cerr << "warning: " << warning << '\n';
  std::cout << fmt::format(
      "{}; {}; window 9\n\n| shape, prompts | 1 thread s | {} threads s | ratio | largest "
      "difference of a log-probability |\n|---|---|---|---|---|\n",
      describe(at::kCPU), library_versions(), threads);
  bool right = true;
  for (const std::string& name : values["shapes"].as<Words>()) {
    right = bench(shape_named(name, "threads_bench"), threads, values["prompts"].as<int>(),
                  values["repeats"].as<int>()) &&
            right;
  }
  return right ? 0 : 1;
}

}  // namespace
}  // namespace factflow

int main(int argc, char** argv) {
  return factflow::run_main([&] { return factflow::run_benchmark(argc, argv); });
}
