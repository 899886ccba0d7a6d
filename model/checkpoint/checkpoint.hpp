// A checkpoint directory as config.json plus named tensors, mapped and not yet converted. Knows no model family.
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

namespace factflow {

enum class StoredType { kF64, kF32, kF16, kBF16, kI64, kI32, kI16, kI8, kU8, kBool };
size_t size_of(StoredType type);
std::string to_string(StoredType type);  // "F16"

// One tensor of a file: row-major, contiguous, little-endian. `bytes` points into the map of the file (or, for a
// compressed pickle archive, into an owned buffer) and stays valid as long as the Checkpoint lives.
struct StoredTensor {
  StoredType type = StoredType::kF32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
  std::string file;  // for messages

  std::int64_t count() const;  // product of the shape
};

class Checkpoint {
 public:
  // `source` is a directory, or hf:ORG/NAME[@REVISION] which is looked up offline in the Hugging Face cache
  // (HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub). Finds model.safetensors, model.safetensors.index.json,
  // pytorch_model.bin or pytorch_model.bin.index.json, in this order. Throws InputError naming file and tensor.
  static Checkpoint open(const std::string& source);

  // Only config.json: for planning without weights. Throws InputError.
  static nlohmann::json read_config(const std::string& source);
  // The directory behind a source, existing. Throws InputError.
  static std::filesystem::path resolve(const std::string& source);

  const std::filesystem::path& directory() const;
  const nlohmann::json& config() const;       // config.json as an object
  bool is_mamba_ssm() const;                  // the mamba_ssm library's own config keys (d_model, n_layer, ssm_cfg)
  const std::map<std::string, StoredTensor>& tensors() const;

  // XXH3-128 over config.json and all tensor bytes, hex. Reads every byte once; independent of container and sharding.
  std::string digest() const;

  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;
  ~Checkpoint();

 private:
  struct Parts;
  explicit Checkpoint(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

// Element `index` of a float tensor (F64, F32, F16, BF16) as double.
double element(const StoredTensor& tensor, std::int64_t index);

}  // namespace factflow
