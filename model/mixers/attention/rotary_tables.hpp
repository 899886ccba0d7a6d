// The rotations of a model's attention, on its device.
#pragma once

#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

namespace factflow {

// Cosines and sines by position, which grow with the longest prompt seen. None that was handed out
// is freed before the model: another stream's kernels may still read it.
class RotaryTables {
 public:
  // `options`: the tables' type and device.
  RotaryTables(std::vector<double> inverse_frequencies, at::TensorOptions options)
      : frequencies_(std::move(inverse_frequencies)), options_(options) {}

  // Cosine and sine, [at least `positions`, frequencies]. Safe for several threads; complete on the
  // device.
  std::pair<at::Tensor, at::Tensor> up_to(std::int32_t positions);

 private:
  at::Tensor angles(std::int64_t positions) const;

  std::vector<double> frequencies_;
  at::TensorOptions options_;
  std::mutex mutex_;
  // Each at least twice as long as the one before, so all take at most twice the last one's memory.
  std::vector<std::pair<at::Tensor, at::Tensor>> tables_;
};

}  // namespace factflow
