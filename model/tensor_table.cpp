#include "model/tensor_table.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/architecture.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "model/foreign_tensors.hpp"

namespace factflow {
namespace {

std::string shown(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::string shown(const StoredTensor& tensor) {
  return fmt::format("{} {}", to_string(tensor.type), shown(tensor.shape));
}

std::set<std::string> names_of(const TensorTable& table) {
  std::set<std::string> names = {table.head};
  for (const TensorEntry& entry : table.entries) names.insert(entry.name);
  for (const OldBuffer& buffer : table.old_buffers) names.insert(buffer.name);
  return names;
}

bool is_ignored(const TensorTable& table, const std::string& name) {
  return std::any_of(table.ignored.begin(), table.ignored.end(),
                     [&](const std::string& prefix) { return name.starts_with(prefix); });
}

// The table's name of a checkpoint's tensor; empty if it has none.
std::string name_in(const TensorTable& table, const std::set<std::string>& known,
                    const std::string& name) {
  for (const auto& [theirs, ours] : table.renamed)
    if (name == theirs || table.prefix + name == theirs) return ours;
  if (known.contains(name)) return name;
  return known.contains(table.prefix + name) ? table.prefix + name : "";
}

// The tensor of this table name, under any of its names behind `wrapper`; null if there is none.
const StoredTensor* find_behind(const std::string& wrapper, const Checkpoint& checkpoint,
                                const TensorTable& table, const std::string& name) {
  const auto& tensors = checkpoint.tensors();
  const auto lookup = [&](const std::string& candidate) -> const StoredTensor* {
    auto found = tensors.find(wrapper + candidate);
    if (found == tensors.end() && candidate.starts_with(table.prefix))
      found = tensors.find(wrapper + candidate.substr(table.prefix.size()));
    return found == tensors.end() ? nullptr : &found->second;
  };
  if (const StoredTensor* stored = lookup(name)) return stored;
  for (const auto& [theirs, ours] : table.renamed)
    if (ours == name)
      if (const StoredTensor* stored = lookup(theirs)) return stored;
  return nullptr;
}

// What stands before the table's name of this tensor, and of every other one; "" if nothing does.
std::string wrapper_of(const std::string& name, const Checkpoint& checkpoint,
                       const TensorTable& table, const std::set<std::string>& known) {
  constexpr int kMostWrappers = 8;
  size_t dot = name.find('.');
  for (int i = 0; i < kMostWrappers && dot != name.npos; ++i, dot = name.find('.', dot + 1)) {
    const std::string prefix = name.substr(0, dot + 1);
    const auto is_there = [&](const TensorEntry& entry) {
      return find_behind(prefix, checkpoint, table, entry.name) != nullptr;
    };
    if (!name_in(table, known, name.substr(dot + 1)).empty() &&
        std::all_of(table.entries.begin(), table.entries.end(), is_there))
      return prefix;
  }
  return "";
}

// Throws InputError for a tensor that tells why others are missing: what a wrapper, an adapter or
// quantisation left. Comes before all other checks.
void refuse_foreign_tensors(const Checkpoint& checkpoint, const TensorTable& table) {
  const std::set<std::string> known = names_of(table);
  bool wrapped = true;  // as far as is known
  for (const auto& [name, stored] : checkpoint.tensors()) {
    if (is_ignored(table, name) || !name_in(table, known, name).empty()) continue;
    const std::string prefix = wrapped ? wrapper_of(name, checkpoint, table, known) : "";
    wrapped = !prefix.empty();
    const std::optional<ForeignTensor> foreign =
        wrapped ? foreign_prefix(prefix) : foreign_tensor(name);
    if (foreign)
      throw InputError(stored.file,
                       fmt::format("tensor {} {} {}", name, shown(stored), foreign->problem),
                       foreign->remedy);
  }
}

// Index and shards may disagree about what nothing reads.
void check_disputed(const Checkpoint& checkpoint, const TensorTable& table) {
  std::set<std::string> unread;
  for (const OldBuffer& buffer : table.old_buffers) unread.insert(buffer.name);
  if (table.tied_head) unread.insert(table.head);
  for (const auto& [name, error] : checkpoint.disputed())
    if (!unread.contains(name_in(table, unread, name))) throw error;
}

// "config.json does not give hidden_size (4096), ..": why shapes may differ.
std::string told_of_assumed(const TensorTable& table) {
  if (table.assumed.empty()) return "";
  return fmt::format("config.json leaves to the class's defaults: {}", join(table.assumed));
}

using Names = std::map<std::string, std::string>;  // the table's name -> the checkpoint's

// Each tensor of the checkpoint is one of the table's, and none is there twice.
Names checked_names(const Checkpoint& checkpoint, const TensorTable& table) {
  const std::set<std::string> known = names_of(table);
  Names found;
  for (const auto& [name, stored] : checkpoint.tensors()) {
    if (is_ignored(table, name)) continue;
    const std::string ours = name_in(table, known, name);
    if (ours.empty())
      throw InputError(stored.file, fmt::format("tensor {} {} is not expected in this architecture",
                                                name, shown(stored.shape)));
    const auto [other, is_new] = found.emplace(ours, name);
    if (!is_new)
      throw InputError(checkpoint.directory().string(),
                       fmt::format("tensors {} and {} are one tensor of the model under two names",
                                   other->second, name),
                       "keep the right one");
  }
  return found;
}

void check_expected(const Checkpoint& checkpoint, const TensorTable& table,
                    const TensorEntry& entry) {
  const StoredTensor* stored = find_tensor(checkpoint, table, entry.name);
  if (stored == nullptr)
    throw InputError(checkpoint.directory().string(),
                     fmt::format("tensor {} {} is missing", entry.name, shown(entry.shape)),
                     entry.name == table.head
                         ? fmt::format("config.json does not tie it to {}; head: embedding does",
                                       table.embedding)
                         : told_of_assumed(table));
  if (stored->shape != entry.shape)
    throw InputError(stored->file,
                     fmt::format("tensor {}: expected shape {}, found {}", entry.name,
                                 shown(entry.shape), shown(stored->shape)),
                     told_of_assumed(table));
  if (!is_float(stored->type))
    throw InputError(stored->file,
                     fmt::format("tensor {}: expected F32, F16, BF16 or F64, found {}", entry.name,
                                 to_string(stored->type)),
                     "integers are quantised weights: use the checkpoint that they were made from");
}

bool same_bytes(const StoredTensor& one, const StoredTensor& other) {
  return one.type == other.type && one.shape == other.shape &&
         std::equal(one.bytes.begin(), one.bytes.end(), other.bytes.begin(), other.bytes.end());
}

// transformers 4 takes the embedding here and transformers 5 the head.
void check_tied_head(const Checkpoint& checkpoint, const TensorTable& table, const Names& names) {
  const auto found = names.find(table.head);
  if (!table.tied_head || table.head_chosen || found == names.end()) return;
  const std::string& embedding_name = names.at(table.embedding);
  const StoredTensor &head = checkpoint.tensors().at(found->second),
                     &embedding = checkpoint.tensors().at(embedding_name);
  if (!same_bytes(head, embedding))
    throw InputError(
        head.file,
        fmt::format("tensor {} {} is not the same as {} {}, though config.json ties them (key "
                    "tie_word_embeddings or tie_embeddings, or the family's default)",
                    found->second, shown(head), embedding_name, shown(embedding)),
        "say which to use with head: own or head: embedding");
}

void check_old_buffers(const Checkpoint& checkpoint, const TensorTable& table) {
  for (const OldBuffer& buffer : table.old_buffers) {
    const StoredTensor* stored = find_tensor(checkpoint, table, buffer.name);
    if (stored == nullptr) continue;
    if (const std::string problem = buffer.problem(*stored); !problem.empty())
      throw InputError(stored->file,
                       fmt::format("tensor {} {}: {}", buffer.name, shown(*stored), problem));
  }
}

}  // namespace

std::int64_t TensorTable::parameters() const {
  std::int64_t total = 0;
  for (const TensorEntry& entry : entries)
    total += std::accumulate(entry.shape.begin(), entry.shape.end(), std::int64_t{1},
                             std::multiplies<>());
  return total;
}

void add_embedding_and_head(TensorTable& table, const Architecture& architecture,
                            const std::string& embedding, const std::string& head) {
  const int width =
      architecture.embedding_width > 0 ? architecture.embedding_width : architecture.hidden;
  const std::vector<std::int64_t> shape = {architecture.vocabulary, width};
  table.embedding = embedding;
  table.head = head;
  table.tied_head = architecture.tied_head;
  table.head_chosen = architecture.head_chosen;
  table.assumed = architecture.assumed;
  table.entries.push_back({embedding, shape});
  if (!table.tied_head) table.entries.push_back({head, shape});
}

const StoredTensor* find_tensor(const Checkpoint& checkpoint, const TensorTable& table,
                                const std::string& name) {
  return find_behind("", checkpoint, table, name);
}

void check_tensors(const Checkpoint& checkpoint, const TensorTable& table) {
  check_disputed(checkpoint, table);
  refuse_foreign_tensors(checkpoint, table);
  for (const TensorEntry& entry : table.entries) check_expected(checkpoint, table, entry);
  check_tied_head(checkpoint, table, checked_names(checkpoint, table));
  check_old_buffers(checkpoint, table);
}

}  // namespace factflow
