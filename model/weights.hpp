// Hands out the tensors of a checkpoint, checked against a family's table, converted and on the
// device.
#pragma once

#include <memory>
#include <string>

#include <ATen/ATen.h>

#include "model/checkpoint/checkpoint.hpp"
#include "model/projection.hpp"
#include "model/tensor_table.hpp"
#include "model/upload.hpp"

namespace factflow {

class Weights {
 public:
  // Checks every name and shape first: throws InputError for the first missing, extra or misshapen
  // tensor. A float tensor that needs no conversion stays in the file's map when the device is the
  // CPU.
  Weights(std::shared_ptr<const Checkpoint> checkpoint, TensorTable table, at::Device device,
          Precision precision);

  // Random tensors of the table's shapes, scaled so that activations stay of order one: the same
  // for the same seed, device and type of wide numbers, in whatever order they are taken. For
  // benchmarks.
  Weights(TensorTable table, at::Device device, Precision precision, std::uint64_t seed);

  // The tensor in the table's shape; throws InputError if it holds NaN or Inf.
  at::Tensor take(const std::string& name);
  // Rows of several tensors one below the other.
  at::Tensor stack(std::initializer_list<std::string> names);
  // A matrix [out, in] as the precision multiplies it.
  Projection projection(const at::Tensor& weight) const { return Projection(weight, precision_); }
  // The same of one tensor, which is [in, out] if it is transposed.
  Projection projection(const std::string& name, bool transposed = false);
  // The same of the head. Throws InputError if its numbers are beyond the range of head_type.
  Projection head(const at::Tensor& weight) const;
  bool has(const std::string& name) const;  // whether the table asks for it
  // Undefined if the table does not ask for it.
  at::Tensor optional(const std::string& name) { return has(name) ? take(name) : at::Tensor(); }
  // A bias that is added to activations, in their type; undefined if the table does not ask for it.
  at::Tensor activation_bias(const std::string& name) {
    return has(name) ? take(name).to(activation_type(precision_)) : at::Tensor();
  }

  at::Device device() const { return device_; }
  Precision precision() const { return precision_; }

 private:
  at::Tensor random(const std::string& name) const;
  std::string stored_name(const std::string& name) const;

  std::shared_ptr<const Checkpoint> checkpoint_;
  TensorTable table_;
  at::Device device_;
  Precision precision_;
  at::ScalarType type_;  // of the tensors taken
  Uploader uploader_;
  std::uint64_t seed_ = 0;  // of random tensors
};

}  // namespace factflow
