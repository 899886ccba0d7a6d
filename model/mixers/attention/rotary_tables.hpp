// The rotations of a model's attention, on its device.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include <ATen/ATen.h>

#include "model/mixers/attention/rotary.hpp"
#include "model/ops.hpp"

namespace factflow {

// Cosines and sines by position, which grow with the longest prompt seen. None that was handed out
// is freed before the model: another stream's kernels may still read it.
class RotaryTables {
 public:
  // `options`: the tables' type and device.
  RotaryTables(Rotary rotary, at::TensorOptions options)
      : rotary_(std::move(rotary)), options_(options) {}

  // Of at least so many positions. Safe for several threads; complete on the device.
  Rotations up_to(std::int32_t positions);

 private:
  Rotations made(std::int64_t positions) const;

  Rotary rotary_;
  at::TensorOptions options_;
  std::mutex mutex_;
  // Each at least twice as long as the one before, so all take at most twice the last one's memory.
  std::vector<Rotations> tables_;
};

}  // namespace factflow
