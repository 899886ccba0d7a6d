#include "model/mixers/attention/rotary_tables.hpp"

#include <algorithm>

namespace factflow {

at::Tensor RotaryTables::angles(std::int64_t positions) const {
  const auto width = static_cast<std::int64_t>(frequencies_.size());
  at::Tensor angles = at::empty({positions, width}, at::TensorOptions().dtype(at::kDouble));
  for (std::int64_t position = 0; position < positions; ++position)
    for (std::int64_t i = 0; i < width; ++i)
      angles.data_ptr<double>()[position * width + i] =
          static_cast<double>(position) * frequencies_[static_cast<size_t>(i)];
  return angles;
}

std::pair<at::Tensor, at::Tensor> RotaryTables::up_to(std::int32_t positions) {
  const std::lock_guard lock(mutex_);
  const std::int64_t known = tables_.empty() ? 0 : tables_.back().first.size(0);
  if (known < positions) {
    const at::Tensor turned = angles(std::max<std::int64_t>({positions, 64, 2 * known}));
    tables_.emplace_back(turned.cos().to(options_), turned.sin().to(options_));
  }
  return tables_.back();
}

}  // namespace factflow
