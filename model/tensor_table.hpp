// The tensors that a family expects, as plain data: checked against a checkpoint before anything is
// loaded.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace factflow {

class Checkpoint;
struct Architecture;
struct StoredTensor;

struct TensorEntry {
  // As the Hugging Face class saves it, with the base model's prefix.
  std::string name;
  std::vector<std::int64_t> shape;
};

// A buffer that some versions saved and nothing reads: it may be there if it says what is computed
// without it.
struct OldBuffer {
  std::string name;
  std::function<std::string(const StoredTensor&)> problem;  // "" if there is none
};

struct TensorTable {
  // "transformer.": checkpoints of the base model alone leave it out.
  std::string prefix;
  std::vector<TensorEntry> entries;  // every one is required
  std::vector<OldBuffer> old_buffers;
  // Tensors whose names begin so are left where they are: parts that text models do not have.
  std::vector<std::string> ignored = {};
  std::vector<std::pair<std::string, std::string>> renamed;  // {checkpoint's name, table's name}
  std::string embedding, head;                               // names of the two matrices
  bool tied_head = false;    // logits come from the embedding; the head may be there as its copy
  bool head_chosen = false;  // by the user: a head in the file may then differ
  std::vector<std::string> assumed;  // sizes that config.json does not give, for messages

  std::int64_t parameters() const;  // sum over the entries
};

// Input embedding and head [vocabulary, hidden] of every family: entries, and what ties them.
void add_embedding_and_head(TensorTable& table, const Architecture& architecture,
                            const std::string& embedding, const std::string& head);

// The tensor of this table name in a checkpoint, under any of the names it may have; null if it is
// not there.
const StoredTensor* find_tensor(const Checkpoint& checkpoint, const TensorTable& table,
                                const std::string& name);

// Throws InputError for the first tensor that is missing, misshapen, of another type than F32, F16,
// BF16 or F64, there under two names, or not known to the table, with what is known of wrappers,
// adapters and quantised weights; for one that index and shards disagree about, unless it is an old
// buffer; for a head that is not the
// embedding though the configuration ties them; and for an old buffer that says something else than
// the configuration. Reads the values of the last two alone.
void check_tensors(const Checkpoint& checkpoint, const TensorTable& table);

}  // namespace factflow
