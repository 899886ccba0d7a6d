// How much memory loading a checkpoint takes at its peak, beside what the loaded model keeps. Each
// load runs in a process of its own, whose anonymous memory is sampled while it loads; pages of
// mapped files, which the kernel may drop and ranks share, are counted apart. loading_peak.py
// writes checkpoints in every container and runs this on them.
#include <algorithm>
#include <array>
#include <atomic>
#include <fstream>
#include <iostream>
#include <numeric>
#include <thread>

#include <boost/program_options.hpp>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.hpp"
#include "bench/run_main.hpp"
#include "model/families/family.hpp"
#include "model/network.hpp"
#include "model/threads.hpp"

namespace factflow {
namespace {

namespace po = boost::program_options;

constexpr double kMebibyte = 1 << 20;

// A line of /proc/self/status, such as RssAnon, in bytes.
std::int64_t status(const std::string& key) {
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;)
    if (word == key + ":") {
      std::int64_t kibibytes = 0;
      file >> kibibytes;
      return kibibytes * 1024;
    }
  throw RunError("/proc/self/status has no " + key);
}

// Looks at this process's anonymous memory several times a millisecond until it is stopped.
class Sampler {
 public:
  Sampler() : thread_([this] { watch(); }) {}
  std::int64_t stop() {
    stopped_ = true;
    thread_.join();
    return std::max(peak_, status("RssAnon"));
  }

 private:
  void watch() {
    while (!stopped_) {
      peak_ = std::max(peak_, status("RssAnon"));
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }
  std::atomic<bool> stopped_ = false;
  std::int64_t peak_ = 0;
  std::thread thread_;
};

std::int64_t largest_tensor(const Architecture& architecture) {
  std::int64_t largest = 0;
  for (const TensorEntry& entry : family_named(architecture.family).tensors(architecture).entries)
    largest = std::max(largest, std::accumulate(entry.shape.begin(), entry.shape.end(),
                                                std::int64_t{1}, std::multiplies<>()));
  return largest;
}

void load_and_print(const std::string& source, Precision precision) {
  set_threads(0, 1);
  at::empty({1 << 20}).fill_(1);  // the library's own first-use memory
  const std::int64_t before = status("RssAnon");
  Sampler sampler;
  const auto checkpoint = std::make_shared<const Checkpoint>(Checkpoint::open(source));
  const auto network = Network::load(checkpoint, at::kCPU, precision);
  const std::int64_t peak = sampler.stop() - before, kept = status("RssAnon") - before;
  const auto element = static_cast<std::int64_t>(c10::elementSize(network->type()));
  const double copy = static_cast<double>(network->parameters() * element) / kMebibyte;
  const double tensor =
      static_cast<double>(largest_tensor(network->architecture()) * element) / kMebibyte;
  const double most = static_cast<double>(peak) / kMebibyte;
  std::cout << fmt::format("| {} | {} | {:.0f} | {:.0f} | {:.0f} | {:.0f} | {:.2f} | {:.0f} |\n",
                           source, to_string(precision), copy, tensor,
                           static_cast<double>(kept) / kMebibyte, most, most / (copy + tensor),
                           static_cast<double>(status("VmHWM")) / kMebibyte)
            << std::flush;
}

// Returns whether the process that loaded ended well.
bool load_apart(const std::string& source, Precision precision) {
  const pid_t child = ::fork();
  if (child < 0) throw RunError("cannot start a process");
  if (child == 0) {
    try {
      load_and_print(source, precision);
      ::_exit(0);
    } catch (const std::exception& error) {
      std::cerr << error.what() << '\n';
      ::_exit(1);
    }
  }
  int ended = 0;
  ::waitpid(child, &ended, 0);
  return WIFEXITED(ended) && WEXITSTATUS(ended) == 0;
}

int run(int argc, char** argv) {
  po::options_description options("loading_peak");
  options.add_options()("help,h", "show this help")(
      "models", po::value<std::vector<std::string>>()->multitoken()->required(), "checkpoints")(
      "precisions",
      po::value<std::vector<std::string>>()->multitoken()->default_value({"fp32", "fp64"},
                                                                         "fp32 fp64"),
      "fp32, fp64");
  po::variables_map values;
  po::store(po::parse_command_line(argc, argv, options), values);
  if (values.count("help") != 0) {
    std::cout << options;
    return 0;
  }
  po::notify(values);
  std::cout << "MiB of anonymous memory beyond the empty process; the last column is the resident "
               "peak with "
               "mapped files\n"
               "| checkpoint | precision | one copy | largest tensor | kept | peak | peak / (copy "
               "+ tensor) "
               "| resident |\n"
            << std::flush;  // before processes inherit it
  bool well = true;
  for (const std::string& model : values["models"].as<std::vector<std::string>>())
    for (const std::string& precision : values["precisions"].as<std::vector<std::string>>())
      well = load_apart(model, parse_precision(precision)) && well;
  return well ? 0 : 1;
}

}  // namespace
}  // namespace factflow

int main(int argc, char** argv) {
  return factflow::run_main([&] { return factflow::run(argc, argv); });
}
