#include "model/threads.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <limits>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <omp.h>
#include <sched.h>
#include <strings.h>
#include <torch/version.h>
#include <unistd.h>

namespace factflow {
namespace {

// How many cores a process may run on; 0 if that cannot be read. pid 0: this process.
int cores_of(pid_t pid) {
  cpu_set_t set;
  CPU_ZERO(&set);
  return ::sched_getaffinity(pid, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
}

// The cores that a launcher has, divided among the ranks that it started here: what each would have
// unbound.
int share_of_launcher(int local_size) {
  const int cores = std::max({1, cores_of(0), cores_of(::getppid())});
  return std::max(1, cores / std::max(1, local_size));
}

template <class Function>
Function* symbol(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_DEFAULT, name));
}

// The file that a function comes from.
template <class Function>
std::string file_of(Function* function) {
  Dl_info info{};
  return ::dladdr(reinterpret_cast<void*>(function), &info) != 0 && info.dli_fname != nullptr
             ? info.dli_fname
             : "an unknown file";
}

void use_threads(int threads) {
  at::set_num_threads(threads);
  omp_set_num_threads(threads);  // a wheel's libtorch may carry an OpenMP runtime of its own
  if (auto* set = symbol<void(int)>("openblas_set_num_threads")) set(threads);
}

std::string binding_warning(int local_size) {
  const int mine = cores_of(0), share = share_of_launcher(local_size);
  const bool open_mpi = std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr;
  if (!open_mpi || mine == 0 || mine >= share) return "";
  return fmt::format(
      "mpirun binds each rank to {} of its {} cores: mpirun --bind-to none leaves it all", mine,
      share);
}

std::string blas_warning() {
  if (at::hasMKL() || symbol<void(int)>("bli_thread_set_num_threads") != nullptr) return "";
  auto* pool = symbol<int()>("openblas_get_parallel");
  if (pool == nullptr)
    return "matrix products run on the reference BLAS, about 30 times slower than OpenBLAS: "
           "install libopenblas0-openmp and build factflow again";
  constexpr int kThreadsOfItsOwn = 1;
  const char* policy = std::getenv("OMP_WAIT_POLICY");
  const bool waits_idly = policy != nullptr && ::strcasecmp(policy, "passive") == 0;
  if (pool() != kThreadsOfItsOwn || at::get_num_threads() == 1 || waits_idly) return "";
  return fmt::format(
      "the threads of {} and OpenMP's wait on the same cores, for up to half of the time: install "
      "libopenblas0-openmp and build factflow again (LD_LIBRARY_PATH and LD_PRELOAD must not name "
      "another), or set OMP_WAIT_POLICY=passive",
      file_of(pool));
}

int widest_vectors() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512dq") != 0) return 512;
  if (__builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0) return 256;
#endif
  return 128;
}

std::string limit_warning(int threads) {
  if (threads <= omp_get_thread_limit()) return "";
  return fmt::format("OMP_THREAD_LIMIT leaves {} of {} threads", omp_get_thread_limit(), threads);
}

// Less than this is no help: noise of a short measurement.
constexpr double kHelp = 0.95;

std::string useless_threads_warning(int threads) {
  if (threads == 1) return "";
  const double one = seconds_of_mixture(1), all = seconds_of_mixture(threads);
  if (all < kHelp * one) return "";
  return fmt::format(
      "{} threads take {:.1f} ms where one takes {:.1f}: are the cores busy, or shared with other "
      "ranks? Set OMP_WAIT_POLICY=passive, or run: {{threads_per_rank: 1}}",
      threads, all * 1000, one * 1000);
}

}  // namespace

int set_threads(int threads, int local_size) {
  if (threads <= 0) threads = std::clamp(cores_of(0), 1, share_of_launcher(local_size));
  use_threads(threads);
  return threads;
}

std::string core_type_warning(std::string_view core, int bits) {
  // OpenBLAS's names (driver/others/dynamic.c) by the width of their float32 kernels; what is in
  // neither list uses 128 bits.
  constexpr std::array<std::string_view, 3> kWide = {"SkylakeX", "Cooperlake", "SapphireRapids"};
  constexpr std::array<std::string_view, 7> kMiddle = {
      "Haswell", "Zen", "Excavator", "Steamroller", "Piledriver", "Bulldozer", "Sandybridge"};
  const auto is_core = [&](std::string_view name) {
    return name.size() == core.size() && ::strncasecmp(name.data(), core.data(), core.size()) == 0;
  };
  const bool wide = std::any_of(kWide.begin(), kWide.end(), is_core);
  const bool middle = std::any_of(kMiddle.begin(), kMiddle.end(), is_core);
  const int used = wide ? 512 : middle ? 256 : 128;
  if (core.empty() || used >= bits) return "";
  return fmt::format(
      "OPENBLAS_CORETYPE={} uses vectors of {} bits where the processor has {}, and matrix "
      "products "
      "take up to twice as long: unset it",
      core, used, bits);
}

double seconds_of_mixture(int threads) {
  constexpr int kRows = 192, kWidth = 768, kRepeats = 5, kLayers = 2;
  use_threads(threads);
  const at::InferenceMode inference;
  const at::Tensor weights = at::full({kWidth, kWidth}, 1.0F / kWidth);
  at::Tensor states = at::ones({kRows, kWidth}), product = at::empty_like(states);
  double best = std::numeric_limits<double>::infinity();
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    for (int layer = 0; layer < kLayers; ++layer) {
      at::mm_out(product, states, weights);
      at::tanh_out(states, product);
    }
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    best = std::min(best, taken.count());
  }
  return best;
}

std::vector<std::string> slowness_warnings(int local_size) {
  const int threads = at::get_num_threads();
  const bool told = std::getenv("OPENBLAS_CORETYPE") != nullptr;
  auto* core = symbol<char*()>("openblas_get_corename");
  std::vector<std::string> warnings = {
      binding_warning(local_size), blas_warning(),
      told && core != nullptr ? core_type_warning(core(), widest_vectors()) : "",
      limit_warning(threads), useless_threads_warning(threads)};
  warnings.erase(std::remove(warnings.begin(), warnings.end(), ""), warnings.end());
  return warnings;
}

std::string library_versions() {
  std::string text = fmt::format("libtorch {}", TORCH_VERSION);
  if (auto* config = symbol<char*()>("openblas_get_config")) text += fmt::format(", {}", config());
  return text;
}

}  // namespace factflow
