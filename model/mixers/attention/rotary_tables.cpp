#include "model/mixers/attention/rotary_tables.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace factflow {
namespace {

// [positions, frequencies], float64.
at::Tensor angles(std::int64_t positions, const std::vector<double>& frequencies) {
  const auto width = static_cast<std::int64_t>(frequencies.size());
  at::Tensor angles = at::empty({positions, width}, at::TensorOptions().dtype(at::kDouble));
  for (std::int64_t position = 0; position < positions; ++position)
    for (std::int64_t i = 0; i < width; ++i)
      angles.data_ptr<double>()[position * width + i] =
          static_cast<double>(position) * frequencies[static_cast<size_t>(i)];
  return angles;
}

}  // namespace

Rotations RotaryTables::made(std::int64_t positions) const {
  const auto tables = [&](std::int64_t tokens) {
    const at::Tensor turned = angles(positions, inverse_frequencies(rotary_, tokens));
    return std::pair{(turned.cos() * rotary_.magnitude).to(options_),
                     (turned.sin() * rotary_.magnitude).to(options_)};
  };
  const auto [cosine, sine] = tables(1);
  if (rotary_.scaling != Rotary::Scaling::kLongrope) return {cosine, sine};
  const auto [long_cosine, long_sine] = tables(std::numeric_limits<std::int32_t>::max());
  return {cosine, sine, long_cosine, long_sine,
          static_cast<std::int32_t>(rotary_.original_max_positions)};
}

Rotations RotaryTables::up_to(std::int32_t positions) {
  const std::lock_guard lock(mutex_);
  const std::int64_t known = tables_.empty() ? 0 : tables_.back().cosine.size(0);
  if (known < positions)
    tables_.push_back(made(std::max<std::int64_t>({positions, 64, 2 * known})));
  return tables_.back();
}

}  // namespace factflow
