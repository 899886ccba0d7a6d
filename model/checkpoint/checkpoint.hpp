// A checkpoint directory as config.json plus named tensors, mapped and not yet converted. Knows no
// model family.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/error.hpp"

namespace factflow {

enum class StoredType { kF64, kF32, kF16, kBF16, kI64, kI32, kI16, kI8, kU8, kBool };
size_t size_of(StoredType type);
bool is_float(StoredType type);
std::string to_string(StoredType type);  // "F16"

// One tensor of a file: row-major, contiguous, little-endian. `bytes` points into the map of the
// file (or, for a compressed or strided tensor of a pickle archive, into an owned buffer), has any
// alignment, and stays valid as long as the Checkpoint lives.
struct StoredTensor {
  StoredType type = StoredType::kF32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
  std::string file;  // for messages

  std::int64_t count() const;  // product of the shape
};

class Checkpoint {
 public:
  // `source` is a directory, or hf:ORG/NAME[@REVISION] which is looked up offline in the Hugging
  // Face cache (hub_cache.hpp). Finds model.safetensors,
  // model.safetensors.index.json, pytorch_model.bin or pytorch_model.bin.index.json, in this order.
  // Refuses a whole file beside an index to other shards, and an adapter.
  // Other forms of weights, and files that are no weights, are refused with what they are.
  // Throws InputError naming file and tensor.
  static Checkpoint open(const std::string& source);

  // A model in memory: `directory` holds its config.json. `keeper` keeps the bytes of `tensors`
  // where they are. Throws InputError for the configuration, and where there is no tensor.
  static Checkpoint in_memory(const std::filesystem::path& directory,
                              std::map<std::string, StoredTensor> tensors,
                              std::shared_ptr<const void> keeper);

  // Only config.json: for planning without weights. Refuses an adapter. Throws InputError.
  static nlohmann::json read_config(const std::string& source);
  // The directory behind a source, existing; `~` is the home directory. Throws InputError.
  static std::filesystem::path resolve(const std::string& source);
  // Likewise for a tokenizer, which may also be a file; a local one is not looked at.
  static std::filesystem::path resolve_tokenizer(const std::string& source);
  // Whether the directory holds a file of weights. Throws as resolve().
  static bool has_weights(const std::string& source);

  const std::filesystem::path& directory() const;
  const nlohmann::json& config() const;  // config.json as an object
  bool is_mamba_ssm() const;  // the mamba_ssm library's own config keys (d_model, n_layer, ssm_cfg)
  const std::map<std::string, StoredTensor>& tensors() const;
  // Where an index and its shards disagree about a single tensor: it is in a shard and not in the
  // index, or the other way round. Each is an error, unless it is of a tensor that nothing reads.
  const std::map<std::string, InputError>& disputed() const;
  // Files of weights in the directory that come later in the order and were not looked at.
  const std::vector<std::string>& unread() const;

  // Bytes of tensors that could not be mapped in place and were copied: 0 for safetensors and for
  // what torch.save writes from contiguous tensors.
  size_t owned_bytes() const;

  // Notes that a tensor of this checkpoint is used where it lies, until what it returns goes. Safe
  // for several threads at once, as lent().
  std::shared_ptr<const void> lend(const StoredTensor& tensor) const;
  // Names of the tensors that are, ascending.
  std::vector<std::string> lent() const;

  // XXH3-128 over config.json's bytes and, in name order, every tensor's name, type, shape and
  // bytes: 32 hex digits. Reads every byte once; independent of container and sharding.
  std::string digest() const;

  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;
  ~Checkpoint();

 private:
  struct Parts;
  explicit Checkpoint(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

// Element `index` of a float tensor (F64, F32, F16, BF16) as double. Throws InputError for another
// type and std::out_of_range for an index outside the tensor.
double element(const StoredTensor& tensor, std::int64_t index);

// Elements [begin, begin + out.size()) of a float tensor, in row-major order. F16 and BF16 convert
// exactly, subnormals and NaN payloads included; F64 to float rounds to nearest. Throws as
// element().
void convert(const StoredTensor& tensor, std::int64_t begin, std::span<float> out);
void convert(const StoredTensor& tensor, std::int64_t begin, std::span<double> out);

// How many elements are NaN or infinite; 0 for an integer tensor.
std::int64_t count_non_finite(const StoredTensor& tensor);

}  // namespace factflow
