#include "model/tensor_table.hpp"

#include <algorithm>
#include <functional>
#include <numeric>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.hpp"
#include "model/checkpoint/checkpoint.hpp"

namespace factflow {
namespace {

bool is_float(StoredType type) {
  return type == StoredType::kF32 || type == StoredType::kF16 || type == StoredType::kBF16 ||
         type == StoredType::kF64;
}

std::string shown(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

void check_expected(const Checkpoint& checkpoint, const TensorTable& table,
                    const TensorEntry& entry) {
  const StoredTensor* stored = find_tensor(checkpoint, table, entry.name);
  if (stored == nullptr)
    throw InputError(checkpoint.directory().string(),
                     fmt::format("tensor {} {} is missing", entry.name, shown(entry.shape)));
  if (stored->shape != entry.shape)
    throw InputError(stored->file, fmt::format("tensor {}: expected shape {}, found {}", entry.name,
                                               shown(entry.shape), shown(stored->shape)));
  if (!is_float(stored->type))
    throw InputError(stored->file,
                     fmt::format("tensor {}: expected F32, F16, BF16 or F64, found {}", entry.name,
                                 to_string(stored->type)));
}

bool may_be_there(const TensorTable& table, const std::set<std::string>& expected,
                  const std::string& name) {
  std::string known = name;
  for (const auto& [theirs, ours] : table.renamed)
    if (name == theirs) known = ours;
  return expected.count(known) != 0 || expected.count(table.prefix + known) != 0 ||
         std::find(table.tied.begin(), table.tied.end(), known) != table.tied.end() ||
         std::any_of(table.ignored.begin(), table.ignored.end(),
                     [&](const std::string& end) { return name.ends_with(end); });
}

}  // namespace

std::int64_t TensorTable::parameters() const {
  std::int64_t total = 0;
  for (const TensorEntry& entry : entries)
    total += std::accumulate(entry.shape.begin(), entry.shape.end(), std::int64_t{1},
                             std::multiplies<>());
  return total;
}

const StoredTensor* find_tensor(const Checkpoint& checkpoint, const TensorTable& table,
                                const std::string& name) {
  const auto& tensors = checkpoint.tensors();
  const auto lookup = [&](const std::string& candidate) -> const StoredTensor* {
    const auto found = tensors.find(candidate);
    return found == tensors.end() ? nullptr : &found->second;
  };
  if (const StoredTensor* stored = lookup(name)) return stored;
  for (const auto& [theirs, ours] : table.renamed)
    if (ours == name)
      if (const StoredTensor* stored = lookup(theirs)) return stored;
  return name.starts_with(table.prefix) ? lookup(name.substr(table.prefix.size())) : nullptr;
}

void check_tensors(const Checkpoint& checkpoint, const TensorTable& table) {
  std::set<std::string> expected;
  for (const TensorEntry& entry : table.entries) {
    check_expected(checkpoint, table, entry);
    expected.insert(entry.name);
  }
  for (const auto& [name, stored] : checkpoint.tensors())
    if (!may_be_there(table, expected, name))
      throw InputError(stored.file, fmt::format("tensor {} {} is not expected in this architecture",
                                                name, shown(stored.shape)));
}

}  // namespace factflow
