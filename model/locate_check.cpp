#include "model/locate_check.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace factflow {
namespace {

at::Tensor matrix_of(const std::vector<std::vector<double>>& rows) {
  std::vector<at::Tensor> all;
  for (const std::vector<double>& row : rows) {
    all.push_back(at::tensor(row, at::kDouble));
    if (row.size() != rows.front().size()) return {};
  }
  return all.empty() ? at::Tensor() : at::stack(all);
}

double relative_error(const at::Tensor& found, const at::Tensor& truth) {
  if (!truth.defined() || found.sizes() != truth.sizes())
    return std::numeric_limits<double>::infinity();
  const double difference = (found.to(at::kCPU, at::kDouble) - truth).norm().item<double>();
  return difference == 0 ? 0 : difference / truth.norm().item<double>();
}

}  // namespace

void LocateCheck::add(const std::string& name, double error) {
  ++compared_;
  if (std::isnan(error)) error = std::numeric_limits<double>::infinity();
  if (error <= error_) return;
  error_ = error;
  worst_ = name;
}

void LocateCheck::log_probability(const std::string& name, double log_p, double q) {
  add(name, std::abs(log_p - std::log(q)));
}

void LocateCheck::values(const std::string& name, const at::Tensor& found,
                         const std::vector<double>& expected) {
  add(name, relative_error(found, at::tensor(expected, at::kDouble)));
}

void LocateCheck::values(const std::string& name, const at::Tensor& found,
                         const std::vector<std::vector<double>>& expected) {
  add(name, relative_error(found, matrix_of(expected)));
}

void LocateCheck::number(const std::string& name, double found, double expected) {
  add(name, std::abs(found - expected) / std::max(1.0, std::abs(expected)));
}

void LocateCheck::size(const std::string& name, double found, double expected) {
  add(name, found == expected ? 0 : std::abs(found - expected) / std::abs(expected));
}

void LocateCheck::same(const std::string& name, bool equal) {
  add(name, equal ? 0 : std::numeric_limits<double>::infinity());
}

}  // namespace factflow
