#include "model/blas.hpp"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <utility>

#include <dlfcn.h>

#include "base/error.hpp"

namespace factflow {
namespace {

// Values of CBLAS.
constexpr int kRowMajor = 101, kPlain = 111, kTransposed = 112;

thread_local const Blas* current = nullptr;

// How CBLAS is told of a matrix: its rows or its columns are in one piece.
struct Layout {
  int transpose;
  int stride;
};
std::optional<Layout> layout_of(const at::Tensor& matrix) {
  const std::int64_t rows = matrix.size(0), columns = matrix.size(1);
  const auto stride = [](std::int64_t of, std::int64_t least) {
    return static_cast<int>(std::max<std::int64_t>({of, least, 1}));
  };
  if (matrix.stride(1) == 1 || columns == 1)
    return Layout{kPlain, stride(rows > 1 ? matrix.stride(0) : columns, columns)};
  if (matrix.stride(0) == 1 || rows == 1)
    return Layout{kTransposed, stride(matrix.stride(1), rows)};
  return std::nullopt;
}

bool fits(const at::Tensor& matrix) {
  constexpr std::int64_t kLargest = std::numeric_limits<int>::max();
  return matrix.is_cpu() && matrix.scalar_type() == at::kFloat && matrix.dim() == 2 &&
         matrix.size(0) <= kLargest && matrix.size(1) <= kLargest && matrix.stride(0) <= kLargest &&
         matrix.stride(1) <= kLargest;
}

}  // namespace

std::shared_ptr<const Blas> Blas::open(const std::string& path, const std::string& prefix) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw InputError(path, std::string("cannot be loaded: ") + dlerror());
  auto blas = std::make_shared<Blas>();
  const auto find = [&](auto& function, const std::string& name) {
    function =
        reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library, (prefix + name).c_str()));
  };
  find(blas->sgemm_, "cblas_sgemm");
  find(blas->set_threads_, "openblas_set_num_threads");
  find(blas->describe_, "openblas_get_config");
  if (blas->sgemm_ == nullptr)
    throw InputError(path, "is no BLAS: it has no " + prefix + "cblas_sgemm");
  blas->file_ = std::filesystem::path(path).filename().string();
  return blas;
}

std::string Blas::name() const {
  return describe_ != nullptr ? describe_() : file_;
}

Blas::Scope::Scope(std::shared_ptr<const Blas> blas, int threads)
    : blas_(std::move(blas)), before_(current) {
  current = blas_.get();
  if (current != nullptr && current->set_threads_ != nullptr)
    current->set_threads_(std::max(threads, 1));
}

Blas::Scope::~Scope() {
  current = before_;
}

bool Blas::multiply(const at::Tensor& a, const at::Tensor& b, double scale, double beta,
                    at::Tensor out) {
  if (current == nullptr || !fits(a) || !fits(b) || !fits(out) || out.stride(1) != 1) return false;
  const std::optional<Layout> of_a = layout_of(a), of_b = layout_of(b);
  if (!of_a || !of_b) return false;
  const auto m = static_cast<int>(out.size(0)), n = static_cast<int>(out.size(1)),
             k = static_cast<int>(a.size(1));
  if (m == 0 || n == 0 || k == 0) return false;
  current->sgemm_(kRowMajor, of_a->transpose, of_b->transpose == kPlain ? kTransposed : kPlain, m,
                  n, k, static_cast<float>(scale), a.data_ptr<float>(), of_a->stride,
                  b.data_ptr<float>(), of_b->stride, static_cast<float>(beta),
                  out.data_ptr<float>(), m > 1 ? static_cast<int>(out.stride(0)) : n);
  return true;
}

}  // namespace factflow
