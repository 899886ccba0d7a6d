#include "model/checkpoint/checkpoint.hpp"

#include <algorithm>
#include <functional>
#include <iterator>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/paths.hpp"
#include "model/checkpoint/config_file.hpp"
#include "model/checkpoint/digest.hpp"
#include "model/checkpoint/foreign_files.hpp"
#include "model/checkpoint/hub_cache.hpp"
#include "model/checkpoint/rwkv_archive.hpp"
#include "model/checkpoint/safetensors.hpp"
#include "model/checkpoint/shard_index.hpp"
#include "model/checkpoint/tensor_file.hpp"
#include "model/checkpoint/torch_archive.hpp"
#include "model/checkpoint/untrusted.hpp"

namespace factflow {

namespace fs = std::filesystem;

namespace {

// Which tensors are used where they lie, and how often.
struct Lent {
  std::mutex mutex;
  std::map<const StoredTensor*, int> times;
};

}  // namespace

struct Checkpoint::Parts {
  fs::path directory;
  ConfigFile config;
  std::vector<TensorFile> files;  // own what the bytes of `tensors` point into
  TensorMap tensors;
  std::map<std::string, InputError> disputed;
  std::vector<std::string> unread;
  std::shared_ptr<const void> keeper;  // likewise, of tensors that lie in no file
  std::shared_ptr<Lent> lent = std::make_shared<Lent>();

  // What all ways to a checkpoint end with.
  void finish() {
    const nlohmann::json type = config.value.value("model_type", nlohmann::json());
    if (type == "rwkv7" || type == "rwkv7_fla") split_rwkv_mixes(tensors);
    if (tensors.empty())
      throw InputError(directory.string(), "holds weights without a single tensor");
  }
};

namespace {

constexpr std::string_view kHubPrefix = "hf:";
constexpr const char* kAdapter = "adapter_config.json";

using OpenFile = TensorFile (*)(const fs::path&);

// Is there a file of this name? A link to nothing is what an interrupted download leaves in the
// Hugging Face cache.
bool holds(const fs::path& directory, const std::string& name) {
  const fs::path path = directory / name;
  std::error_code ignored;
  if (fs::exists(path, ignored)) return true;
  if (fs::is_symlink(fs::symlink_status(path, ignored)))
    throw InputError(path.string(), "is a link to a file that is not there",
                     "download the checkpoint again");
  return false;
}

constexpr const char* kOtherShards =
    "index and shards are of different checkpoints: download them again";

// The weights of a directory as they are put together.
struct WeightFiles {
  std::vector<TensorFile> files;
  TensorMap tensors;
  std::map<std::string, InputError> disputed;
};

// Moves the tensors of one file of the checkpoint into `weights`, having checked them against the
// index.
void take_shard(TensorMap& shard, const std::string& name, const WeightMap& map,
                const fs::path& index, WeightFiles& weights) {
  for (auto& [tensor, stored] : shard) {
    const auto listed = map.find(tensor);
    const bool is_listed = listed != map.end();
    if (!is_listed || listed->second != name) {
      const InputError error(
          index.string(),
          fmt::format("{} holds the tensor {}, which weight_map {}", name, in_quotes(tensor),
                      is_listed ? "places in " + in_quotes(listed->second) : "does not list"),
          kOtherShards);
      if (is_listed || weights.tensors.contains(tensor)) throw error;
      weights.disputed.emplace(tensor, error);
    }
    weights.tensors.emplace(tensor, std::move(stored));
  }
}

void open_shards(const fs::path& index, OpenFile open, WeightFiles& weights) {
  const WeightMap map = read_weight_map(index);
  for (const std::string& name : shards_of(map)) {
    const fs::path path = index.parent_path() / name;
    if (!holds(index.parent_path(), name))
      throw InputError(path.string(),
                       fmt::format("is missing, though {} names it", index.filename().string()),
                       "the download is incomplete: download the checkpoint again");
    weights.files.push_back(open(path));
    take_shard(weights.files.back().tensors, name, map, index, weights);
  }
  for (const auto& [tensor, shard] : map)
    if (!weights.tensors.contains(tensor))
      weights.disputed.emplace(
          tensor, InputError(index.string(),
                             fmt::format("places the tensor {} in {}, which does not hold it",
                                         in_quotes(tensor), shard),
                             kOtherShards));
}

struct Container {
  const char* name;
  OpenFile open;
  std::string index() const { return std::string(name) + ".index.json"; }
};
const Container kContainers[] = {{"model.safetensors", open_safetensors},
                                 {"pytorch_model.bin", open_torch_archive}};

// A whole file is read before shards: if there are both, they must be the same.
void refuse_other_shards(const fs::path& directory, const Container& container) {
  const fs::path index = directory / container.index();
  if (!holds(directory, container.index())) return;
  for (const std::string& shard : shards_of(read_weight_map(index)))
    if (shard != container.name)
      throw InputError(
          index.string(),
          fmt::format("names {}, but {} lies beside it", in_quotes(shard), container.name),
          "keep the whole file, or the index and its shards");
}

// Returns the files that were left alone.
std::vector<std::string> open_weights(const fs::path& directory, WeightFiles& weights) {
  std::vector<std::string> unread;
  for (const Container& container : kContainers) {
    const bool whole = holds(directory, container.name);
    if (!whole && !holds(directory, container.index())) continue;
    if (!weights.files.empty()) {
      unread.push_back(whole ? container.name : container.index());
    } else if (whole) {
      refuse_other_shards(directory, container);
      weights.files.push_back(container.open(directory / container.name));
      weights.tensors = std::move(weights.files.back().tensors);
    } else {
      open_shards(directory / container.index(), container.open, weights);
    }
  }
  if (weights.files.empty())
    refuse_directory(directory,
                     "holds no weights: tried model.safetensors, model.safetensors.index.json, "
                     "pytorch_model.bin and pytorch_model.bin.index.json",
                     "");
  return unread;
}

// config.json of a directory that is a model of its own.
ConfigFile read_model_config(const fs::path& directory) {
  ConfigFile config = read_config_file(directory);
  if (holds(directory, kAdapter))
    throw InputError((directory / kAdapter).string(),
                     "says that an adapter (LoRA or alike) changes the weights, which is not "
                     "supported",
                     "merge it into the weights with peft (merge_and_unload, then "
                     "save_pretrained), or remove the file if they hold it already");
  return config;
}

}  // namespace

Checkpoint::Checkpoint(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;
Checkpoint::~Checkpoint() = default;

fs::path Checkpoint::resolve(const std::string& source) {
  if (source.starts_with(kHubPrefix))
    return find_in_hub_cache(std::string_view(source).substr(kHubPrefix.size()));
  std::error_code ignored;
  const fs::path directory = with_home(source);
  if (fs::is_directory(directory, ignored)) return directory;
  if (fs::exists(directory, ignored)) refuse_file(directory);
  throw InputError(
      in_quotes(source), "is no directory" + relative_to_what(directory),
      fmt::format("name a checkpoint directory, or a model of the Hugging Face cache as {}ORG/NAME",
                  kHubPrefix));
}

fs::path Checkpoint::resolve_tokenizer(const std::string& source) {
  return source.starts_with(kHubPrefix) ? resolve(source) : with_home(source);
}

bool Checkpoint::has_weights(const std::string& source) {
  const fs::path directory = resolve(source);
  return find_rwkv_archive(directory) ||
         std::any_of(std::begin(kContainers), std::end(kContainers), [&](const Container& one) {
           return holds(directory, one.name) || holds(directory, one.index());
         });
}

nlohmann::json Checkpoint::read_config(const std::string& source) {
  const fs::path directory = resolve(source);
  if (const auto archive = find_rwkv_archive(directory))
    return open_rwkv_archive(*archive).config.value;
  return read_model_config(directory).value;
}

Checkpoint Checkpoint::open(const std::string& source) {
  auto parts = std::make_unique<Parts>();
  parts->directory = resolve(source);
  WeightFiles weights;
  if (const auto archive = find_rwkv_archive(parts->directory)) {
    RwkvArchive opened = open_rwkv_archive(*archive);
    parts->config = std::move(opened.config);
    weights.tensors = std::move(opened.file.tensors);
    weights.files.push_back(std::move(opened.file));
  } else {
    parts->config = read_model_config(parts->directory);
    parts->unread = open_weights(parts->directory, weights);
  }
  parts->files = std::move(weights.files);
  parts->tensors = std::move(weights.tensors);
  parts->disputed = std::move(weights.disputed);
  parts->finish();
  return Checkpoint(std::move(parts));
}

Checkpoint Checkpoint::in_memory(const fs::path& directory, TensorMap tensors,
                                 std::shared_ptr<const void> keeper) {
  auto parts = std::make_unique<Parts>();
  parts->directory = directory;
  parts->config = read_model_config(directory);
  parts->tensors = std::move(tensors);
  parts->keeper = std::move(keeper);
  parts->finish();
  return Checkpoint(std::move(parts));
}

const fs::path& Checkpoint::directory() const {
  return parts_->directory;
}
const nlohmann::json& Checkpoint::config() const {
  return parts_->config.value;
}
const std::map<std::string, StoredTensor>& Checkpoint::tensors() const {
  return parts_->tensors;
}

const std::map<std::string, InputError>& Checkpoint::disputed() const {
  return parts_->disputed;
}

const std::vector<std::string>& Checkpoint::unread() const {
  return parts_->unread;
}

bool Checkpoint::is_mamba_ssm() const {
  const nlohmann::json& keys = config();
  return keys.contains("d_model") && keys.contains("n_layer") && keys.contains("ssm_cfg") &&
         !keys.contains("model_type");
}

std::shared_ptr<const void> Checkpoint::lend(const StoredTensor& tensor) const {
  const auto change = [lent = parts_->lent, which = &tensor](int by) {
    const std::lock_guard guard(lent->mutex);
    lent->times[which] += by;
  };
  change(1);
  return {&tensor, [change](const void*) { change(-1); }};
}

std::vector<std::string> Checkpoint::lent() const {
  const std::lock_guard guard(parts_->lent->mutex);
  std::vector<std::string> names;
  for (const auto& [name, tensor] : parts_->tensors) {
    const auto found = parts_->lent->times.find(&tensor);
    if (found != parts_->lent->times.end() && found->second > 0) names.push_back(name);
  }
  return names;
}

size_t Checkpoint::owned_bytes() const {
  size_t bytes = 0;
  for (const TensorFile& file : parts_->files)
    for (const auto& buffer : file.owned) bytes += buffer.size();
  return bytes;
}

std::string Checkpoint::digest() const {
  return digest_of(parts_->config.text, parts_->tensors);
}

}  // namespace factflow
