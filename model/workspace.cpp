#include "model/workspace.hpp"

namespace factflow {

at::Tensor Workspace::matrix(const std::string& name, std::int64_t rows, std::int64_t columns) {
  return matrix(name, rows, columns, c10::typeMetaToScalarType(options_.dtype()));
}

at::Tensor Workspace::matrix(const std::string& name, std::int64_t rows, std::int64_t columns, at::ScalarType type) {
  at::Tensor& buffer = buffers_[name];
  const std::int64_t wanted = rows * columns;
  if (!buffer.defined() || buffer.numel() < wanted) {
    buffer = at::Tensor();  // free before the larger one is made
    buffer = at::empty({wanted + wanted / 8}, options_.dtype(type));
  }
  return buffer.narrow(0, 0, wanted).view({rows, columns});
}

}  // namespace factflow
