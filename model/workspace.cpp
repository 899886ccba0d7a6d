#include "model/workspace.hpp"

#include <limits>

namespace factflow {
namespace {

bool poisoned = false;

void fill_with_poison(at::Tensor buffer) {
  if (buffer.is_floating_point())
    buffer.fill_(std::numeric_limits<double>::quiet_NaN());
  else
    buffer.fill_(0xff);
}

}  // namespace

void poison_buffers(bool poison) {
  poisoned = poison;
}

Factor Factor::columns(std::int64_t begin, std::int64_t count) const {
  Factor some{numbers.defined() ? numbers.narrow(1, begin, count) : numbers};
  if (!high.defined()) return some;
  some.high = high.narrow(1, begin, count);
  some.parts = parts.narrow(1, begin, distance + count);
  some.distance = distance;
  return some;
}

Factor Factor::some_rows(std::int64_t begin, std::int64_t count) const {
  const auto some = [&](const at::Tensor& t) {
    return t.defined() ? t.narrow(0, begin, count) : t;
  };
  return {some(numbers), some(high), some(parts), distance};
}

at::Tensor Workspace::matrix(const std::string& name, std::int64_t rows, std::int64_t columns,
                             at::ScalarType type) {
  at::Tensor& buffer = buffers_[name];
  const std::int64_t wanted = rows * columns;
  if (!buffer.defined() || buffer.numel() < wanted) {
    buffer = at::Tensor();  // free before the larger one is made
    buffer = at::empty({wanted + wanted / 8}, options_.dtype(type));
  }
  if (poisoned) fill_with_poison(buffer);
  return buffer.narrow(0, 0, wanted).view({rows, columns});
}

std::int64_t Workspace::bytes() const {
  std::int64_t sum = 0;
  for (const auto& [name, buffer] : buffers_)
    if (buffer.defined()) sum += static_cast<std::int64_t>(buffer.nbytes());
  return sum;
}

Factor Workspace::factor(const std::string& name, std::int64_t rows, std::int64_t columns,
                         bool with_numbers) {
  const bool parts = precision_ == Precision::kTf32x3;
  Factor factor{with_numbers || !parts ? matrix(name, rows, columns) : at::Tensor()};
  if (!parts) return factor;
  factor.high = matrix(name + " high", rows, columns);
  factor.parts = matrix(name + " parts", rows, 2 * columns, at::kBFloat16);
  factor.distance = columns;
  return factor;
}

Factor Workspace::head_factor(const std::string& name, std::int64_t rows, std::int64_t columns) {
  if (precision_ == Precision::kTf32x3) return factor(name, rows, columns);
  return {matrix(name, rows, columns, head_type(precision_))};
}

Factor Workspace::factor_over(const std::string& name, const at::Tensor& activations) {
  if (precision_ != Precision::kTf32x3) return {activations};
  return factor(name, activations.size(0), activations.size(1));
}

}  // namespace factflow
