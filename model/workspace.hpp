// Reused activation buffers: after the first layer of a pass, the layer loop allocates nothing.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <ATen/ATen.h>

namespace factflow {

class Workspace {
 public:
  Workspace(at::Device device, at::ScalarType type) : options_(at::TensorOptions().device(device).dtype(type)) {}

  // An uninitialised [rows, columns] view of the buffer `name`, which grows when needed. A later call with the same name
  // returns the same memory. The second form is for buffers of another number type than the activations'.
  at::Tensor matrix(const std::string& name, std::int64_t rows, std::int64_t columns);
  at::Tensor matrix(const std::string& name, std::int64_t rows, std::int64_t columns, at::ScalarType type);
  // Frees every buffer.
  void clear() { buffers_.clear(); }

 private:
  at::TensorOptions options_;
  std::map<std::string, at::Tensor> buffers_;
};

}  // namespace factflow
