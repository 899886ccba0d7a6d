// How far computed numbers are from the oracle's answers about locating and editing, part by part.
#pragma once

#include <string>
#include <vector>

#include <ATen/ATen.h>

namespace factflow {

// Of one part of the answers: all numbers compared, and the largest error.
class LocateCheck {
 public:
  // `limit`: the largest error that is right.
  LocateCheck(std::string part, double limit) : part_(std::move(part)), limit_(limit) {}

  // Measures of tests/oracle/README.md. `name` says what is compared, as a place in the file.
  // |log p - log q|
  void log_probability(const std::string& name, double log_p, double q);
  // Norm of the difference over the norm of what is expected, of a vector or matrix as a whole.
  void values(const std::string& name, const at::Tensor& found,
              const std::vector<double>& expected);
  void values(const std::string& name, const at::Tensor& found,
              const std::vector<std::vector<double>>& expected);
  // |x - q| / max(1, |q|): of what is a mean of -log p, or next to one.
  void number(const std::string& name, double found, double expected);
  // |x - q| / |q|
  void size(const std::string& name, double found, double expected);
  // What is counted or chosen: no error, or an infinite one.
  void same(const std::string& name, bool equal);

  const std::string& part() const { return part_; }
  size_t compared() const { return compared_; }        // numbers, vectors and choices
  double error() const { return error_; }              // infinite for NaN, or where shapes differ
  const std::string& worst() const { return worst_; }  // what it is of
  double limit() const { return limit_; }
  bool right() const { return error_ <= limit_; }

 private:
  void add(const std::string& name, double error);

  std::string part_, worst_;
  size_t compared_ = 0;
  double error_ = 0, limit_ = 0;
};

}  // namespace factflow
