// Reused activation buffers: after the first layer of a pass, the layer loop allocates nothing.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <ATen/ATen.h>

#include "model/precision.hpp"

namespace factflow {

// What a product multiplies: activations, or in tf32x3 their parts (model/projection.hpp). Kernels
// write it directly.
struct Factor {
  // [rows, width] as activations; in tf32x3 undefined unless they are read otherwise too.
  at::Tensor numbers;
  at::Tensor high = {};       // [rows, width] rounded to TF32; tf32x3 only
  at::Tensor parts = {};      // [rows, 2 width] bfloat16: what that leaves over, beside `high`
  std::int64_t distance = 0;  // from a number's low part to its high one

  std::int64_t rows() const { return numbers.defined() ? numbers.size(0) : high.size(0); }
  std::int64_t width() const { return numbers.defined() ? numbers.size(1) : high.size(1); }
  Factor columns(std::int64_t begin, std::int64_t count) const;
  Factor some_rows(std::int64_t begin, std::int64_t count) const;
};

// For tests, process-wide: whether every buffer is filled with NaN (bytes with 0xff) each time it
// is asked for, so that a number which is read before it is written shows in the answers.
void poison_buffers(bool poison);

class Workspace {
 public:
  Workspace(at::Device device, Precision precision)
      : options_(at::TensorOptions().device(device)), precision_(precision) {}

  Precision precision() const { return precision_; }
  // An uninitialised [rows, columns] view of the buffer `name`, which grows when needed. A later
  // call with the same name returns the same memory. Of activations, of wide numbers
  // (model/precision.hpp), or of a given type.
  at::Tensor matrix(const std::string& name, std::int64_t rows, std::int64_t columns) {
    return matrix(name, rows, columns, activation_type(precision_));
  }
  at::Tensor wide_matrix(const std::string& name, std::int64_t rows, std::int64_t columns) {
    return matrix(name, rows, columns, wide_type(precision_));
  }
  at::Tensor matrix(const std::string& name, std::int64_t rows, std::int64_t columns,
                    at::ScalarType type);
  // The same for what a product multiplies; `with_numbers` if others read it as well.
  Factor factor(const std::string& name, std::int64_t rows, std::int64_t columns,
                bool with_numbers = false);
  // The same for what the head multiplies.
  Factor head_factor(const std::string& name, std::int64_t rows, std::int64_t columns);
  // The same in the memory of `activations`, which it may overwrite, unless there are parts.
  Factor factor_over(const std::string& name, const at::Tensor& activations);
  std::int64_t bytes() const;  // of all buffers
  // Frees every buffer.
  void clear() { buffers_.clear(); }

 private:
  at::TensorOptions options_;
  Precision precision_;
  std::map<std::string, at::Tensor> buffers_;
};

}  // namespace factflow
