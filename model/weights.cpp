#include "model/weights.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"

namespace factflow {
namespace {

// The stored values as a CPU tensor of `type`; shares the file's map where nothing has to be
// converted.
at::Tensor read_tensor(const std::shared_ptr<const Checkpoint>& checkpoint,
                       const StoredTensor& stored, at::ScalarType type) {
  const auto address = reinterpret_cast<std::uintptr_t>(stored.bytes.data());
  if (type == at::kFloat && stored.type == StoredType::kF32 && address % alignof(float) == 0) {
    // Never written: weights are constant.
    auto* data = const_cast<std::byte*>(stored.bytes.data());
    return at::from_blob(
        data, stored.shape, [checkpoint, lent = checkpoint->lend(stored)](void*) {},
        at::TensorOptions().dtype(at::kFloat));
  }
  at::Tensor tensor = at::empty(
      stored.shape, at::TensorOptions().dtype(type == at::kDouble ? at::kDouble : at::kFloat));
  const auto count = static_cast<size_t>(stored.count());
  if (type == at::kDouble)
    convert(stored, 0, std::span<double>(tensor.data_ptr<double>(), count));
  else
    convert(stored, 0, std::span<float>(tensor.data_ptr<float>(), count));
  return tensor;
}

}  // namespace

Weights::Weights(std::shared_ptr<const Checkpoint> checkpoint, TensorTable table, at::Device device,
                 Precision precision)
    : checkpoint_(std::move(checkpoint)),
      table_(std::move(table)),
      device_(device),
      precision_(precision),
      type_(wide_type(precision)),
      uploader_(device) {
  check_tensors(*checkpoint_, table_);
}

Weights::Weights(TensorTable table, at::Device device, Precision precision, std::uint64_t seed)
    : table_(std::move(table)),
      device_(device),
      precision_(precision),
      type_(wide_type(precision)),
      uploader_(device),
      seed_(seed) {}

bool Weights::has(const std::string& name) const {
  return std::any_of(table_.entries.begin(), table_.entries.end(),
                     [&](const TensorEntry& e) { return e.name == name; });
}

// Norms and D near one, A_log as Mamba initialises it, everything else with the variance that keeps
// its output's; float32 numbers in every precision.
at::Tensor Weights::random(const std::string& name) const {
  const auto entry = std::find_if(table_.entries.begin(), table_.entries.end(),
                                  [&](const TensorEntry& e) { return e.name == name; });
  const auto options = at::TensorOptions().device(device_).dtype(at::kFloat);
  at::manual_seed(seed_ + static_cast<std::uint64_t>(entry - table_.entries.begin()));
  if (name.ends_with("A_log"))
    return at::rand(entry->shape, options).mul_(15).add_(1).log_().to(type_);
  const at::Tensor drawn = at::randn(entry->shape, options);
  if (entry->shape.size() == 1)
    drawn.mul_(0.1).add_(name.ends_with("bias") ? 0 : 1);
  else
    drawn.mul_(1 / std::sqrt(static_cast<double>(entry->shape.back())));
  return drawn.to(type_);
}

at::Tensor Weights::take(const std::string& name) {
  if (!checkpoint_) return random(name);
  const StoredTensor* stored = has(name) ? find_tensor(*checkpoint_, table_, name) : nullptr;
  if (stored == nullptr) throw std::logic_error("tensor outside the family's table: " + name);
  const Uploader::Uploaded read =
      device_.is_cpu()
          ? Uploader::Uploaded{read_tensor(checkpoint_, *stored, type_), count_non_finite(*stored)}
          : uploader_.upload(*stored, type_);
  if (read.non_finite > 0)
    throw InputError(stored->file, fmt::format("tensor {}: {} of {} values are NaN or infinite",
                                               name, read.non_finite, stored->count()));
  return read.tensor;
}

Projection Weights::projection(const std::string& name, bool transposed) {
  const at::Tensor stored = take(name);
  Projection made = projection(transposed ? stored.t() : stored);
  if (checkpoint_) made.set_source({stored_name(name), transposed});
  return made;
}

// Tables and checkpoints may call a tensor differently.
std::string Weights::stored_name(const std::string& name) const {
  const StoredTensor* stored = find_tensor(*checkpoint_, table_, name);
  for (const auto& [one, tensor] : checkpoint_->tensors())
    if (&tensor == stored) return one;
  throw std::logic_error("a tensor that the checkpoint does not have: " + name);
}

Projection Weights::head(const at::Tensor& weight) const {
  constexpr double kLargest = 65504;  // of float16
  if (head_type(precision_) == at::kHalf &&
      std::max(weight.max().item<double>(), -weight.min().item<double>()) > kLargest)
    throw InputError(
        "precision",
        fmt::format("{} multiplies the head in float16, and this model's has numbers beyond {}",
                    to_string(precision_), kLargest),
        "use tf32 or fp32");
  return Projection(weight, precision_, head_type(precision_));
}

at::Tensor Weights::stack(std::initializer_list<std::string> names) {
  std::vector<at::Tensor> parts;
  for (const std::string& name : names) parts.push_back(take(name));
  return at::cat(parts, 0);
}

}  // namespace factflow
