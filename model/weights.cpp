#include "model/weights.hpp"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.hpp"

namespace factflow {
namespace {

bool is_float(StoredType type) {
  return type == StoredType::kF32 || type == StoredType::kF16 || type == StoredType::kBF16 || type == StoredType::kF64;
}

std::string shown(const std::vector<std::int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

// The stored values as a CPU tensor of `type`; shares the file's map where nothing has to be converted.
at::Tensor read_tensor(const std::shared_ptr<const Checkpoint>& checkpoint, const StoredTensor& stored, at::ScalarType type) {
  const auto address = reinterpret_cast<std::uintptr_t>(stored.bytes.data());
  if (type == at::kFloat && stored.type == StoredType::kF32 && address % alignof(float) == 0) {
    auto* data = const_cast<std::byte*>(stored.bytes.data());  // never written: weights are constant
    return at::from_blob(data, stored.shape, [checkpoint](void*) {}, at::TensorOptions().dtype(at::kFloat));
  }
  at::Tensor tensor = at::empty(stored.shape, at::TensorOptions().dtype(type == at::kDouble ? at::kDouble : at::kFloat));
  const auto count = static_cast<size_t>(stored.count());
  if (type == at::kDouble)
    convert(stored, 0, std::span<double>(tensor.data_ptr<double>(), count));
  else
    convert(stored, 0, std::span<float>(tensor.data_ptr<float>(), count));
  return tensor;
}

}  // namespace

std::int64_t TensorTable::parameters() const {
  std::int64_t total = 0;
  for (const TensorEntry& entry : entries)
    total += std::accumulate(entry.shape.begin(), entry.shape.end(), std::int64_t{1}, std::multiplies<>());
  return total;
}

Weights::Weights(std::shared_ptr<const Checkpoint> checkpoint, TensorTable table, at::Device device, at::ScalarType type)
    : checkpoint_(std::move(checkpoint)), table_(std::move(table)), device_(device), type_(type) {
  const std::string where = checkpoint_->directory().string();
  std::set<std::string> used;
  for (const TensorEntry& entry : table_.entries) {
    const StoredTensor* stored = find(entry.name);
    if (stored == nullptr)
      throw InputError(where, fmt::format("tensor {} {} is missing", entry.name, shown(entry.shape)));
    if (stored->shape != entry.shape)
      throw InputError(stored->file, fmt::format("tensor {}: expected shape {}, found {}", entry.name,
                                                 shown(entry.shape), shown(stored->shape)));
    if (!is_float(stored->type))
      throw InputError(stored->file, fmt::format("tensor {}: expected F32, F16, BF16 or F64, found {}", entry.name,
                                                 to_string(stored->type)));
    used.insert(entry.name);
  }
  for (const auto& [name, stored] : checkpoint_->tensors()) {
    std::string known = name;
    for (const auto& [theirs, ours] : table_.renamed)
      if (known == theirs) known = ours;
    if (used.count(known) != 0 || used.count(table_.prefix + known) != 0) continue;
    const auto ends = [&](const std::string& ending) { return name.ends_with(ending); };
    if (std::any_of(table_.ignored.begin(), table_.ignored.end(), ends)) continue;
    if (std::find(table_.tied.begin(), table_.tied.end(), known) != table_.tied.end()) continue;
    throw InputError(stored.file, fmt::format("tensor {} {} is not expected in this architecture", name, shown(stored.shape)));
  }
}

const StoredTensor* Weights::find(const std::string& name) const {
  const auto& tensors = checkpoint_->tensors();
  const auto lookup = [&](const std::string& candidate) -> const StoredTensor* {
    const auto found = tensors.find(candidate);
    return found == tensors.end() ? nullptr : &found->second;
  };
  if (const StoredTensor* stored = lookup(name)) return stored;
  for (const auto& [theirs, ours] : table_.renamed)
    if (ours == name)
      if (const StoredTensor* stored = lookup(theirs)) return stored;
  return name.starts_with(table_.prefix) ? lookup(name.substr(table_.prefix.size())) : nullptr;
}

bool Weights::has(const std::string& name) const {
  return std::any_of(table_.entries.begin(), table_.entries.end(), [&](const TensorEntry& e) { return e.name == name; });
}

at::Tensor Weights::take(const std::string& name) {
  const StoredTensor* stored = has(name) ? find(name) : nullptr;
  if (stored == nullptr) throw std::logic_error("tensor outside the family's table: " + name);
  if (const std::int64_t bad = count_non_finite(*stored))
    throw InputError(stored->file, fmt::format("tensor {}: {} of {} values are NaN or infinite", name, bad, stored->count()));
  return read_tensor(checkpoint_, *stored, type_).to(device_, type_);
}

at::Tensor Weights::stack(std::initializer_list<std::string> names) {
  std::vector<at::Tensor> parts;
  for (const std::string& name : names) parts.push_back(take(name));
  return at::cat(parts, 0);
}

}  // namespace factflow
