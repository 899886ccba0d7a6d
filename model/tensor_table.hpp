// The tensors that a family expects, as plain data: checked against a checkpoint before anything is
// loaded.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace factflow {

class Checkpoint;
struct StoredTensor;

struct TensorEntry {
  // As the Hugging Face class saves it, with the base model's prefix.
  std::string name;
  std::vector<std::int64_t> shape;
};

struct TensorTable {
  // "transformer.": checkpoints of the base model alone leave it out.
  std::string prefix;
  std::vector<TensorEntry> entries;  // every one is required
  // Name endings of buffers that some versions saved and nothing reads.
  std::vector<std::string> ignored;
  std::vector<std::string> tied;  // names that may be present as copies of the embedding
  std::vector<std::pair<std::string, std::string>> renamed;  // {checkpoint's name, table's name}

  std::int64_t parameters() const;  // sum over the entries
};

// The tensor of this table name in a checkpoint, under any of the names it may have; null if it is
// not there.
const StoredTensor* find_tensor(const Checkpoint& checkpoint, const TensorTable& table,
                                const std::string& name);

// Throws InputError for the first tensor that is missing, misshapen, of another type than F32, F16,
// BF16 or F64, or that the table does not know. Reads no values.
void check_tensors(const Checkpoint& checkpoint, const TensorTable& table);

}  // namespace factflow
