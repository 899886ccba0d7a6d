// A BLAS beside libtorch's own, for float32 products on the CPU: the one that PyTorch's wheels
// bring is slow on some processors.
#pragma once

#include <memory>
#include <string>

#include <ATen/ATen.h>

namespace factflow {

class Blas {
 public:
  // Opens a library whose functions have the names of CBLAS behind `prefix` ("scipy_"), with 32-bit
  // integers; it is never closed. Throws InputError(path).
  static std::shared_ptr<const Blas> open(const std::string& path, const std::string& prefix);

  std::string name() const;  // as OpenBLAS describes itself, or the file's name

  // While it lives, products of the thread that made it are this BLAS's, with `threads` threads of
  // its own. nullptr: libtorch's.
  class Scope {
   public:
    Scope(std::shared_ptr<const Blas> blas, int threads);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    std::shared_ptr<const Blas> blas_;
    const Blas* before_;
  };

  // out = scale a b^T + beta out, of float32 matrices a [m, k], b [n, k], out [m, n] on the CPU
  // with rows or columns in one piece. False, and nothing is done, where the thread has no BLAS of
  // its own or the matrices are others.
  static bool multiply(const at::Tensor& a, const at::Tensor& b, double scale, double beta,
                       at::Tensor out);

 private:
  using Sgemm = void (*)(int layout, int transpose_a, int transpose_b, int m, int n, int k,
                         float alpha, const float* a, int lda, const float* b, int ldb, float beta,
                         float* c, int ldc);
  Sgemm sgemm_ = nullptr;
  void (*set_threads_)(int) = nullptr;  // may be missing, as the next
  char* (*describe_)() = nullptr;
  std::string file_;
};

}  // namespace factflow
