#include "model/checkpoint/rwkv_archive.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/error.hpp"
#include "model/checkpoint/torch_archive.hpp"
#include "model/checkpoint/untrusted.hpp"
#include "model/checkpoint/zip_archive.hpp"

namespace factflow {

namespace fs = std::filesystem;

namespace {

constexpr double kEpsilon = 1e-5;  // of the layer norms, in the authors' code
constexpr int kMostBlocks = 10'000;
constexpr const char* kRemedy =
    "expected RWKV-7 as its authors save it; other files of torch are read as pytorch_model.bin "
    "with a config.json beside it";

// What becomes of a tensor.
enum class Form { kAsItIs, kVector, kMix, kTransposed };
struct Place {
  const char* name;
  Form form = Form::kAsItIs;
};

const std::map<std::string, Place, std::less<>>& outside_blocks() {
  static const std::map<std::string, Place, std::less<>> places = {
      {"emb.weight", {"model.embeddings.weight"}},
      {"ln_out.weight", {"model.norm.weight"}},
      {"ln_out.bias", {"model.norm.bias"}},
      {"head.weight", {"lm_head.weight"}}};
  return places;
}

// Behind "blocks.N.", and behind "model.layers.N.".
const std::map<std::string, Place, std::less<>>& in_blocks() {
  static const std::map<std::string, Place, std::less<>> places = {
      {"ln0.weight", {"pre_norm.weight"}},
      {"ln0.bias", {"pre_norm.bias"}},
      {"ln1.weight", {"attn_norm.weight"}},
      {"ln1.bias", {"attn_norm.bias"}},
      {"ln2.weight", {"ffn_norm.weight"}},
      {"ln2.bias", {"ffn_norm.bias"}},
      {"att.x_r", {"attn.x_r", Form::kMix}},
      {"att.x_w", {"attn.x_w", Form::kMix}},
      {"att.x_k", {"attn.x_k", Form::kMix}},
      {"att.x_v", {"attn.x_v", Form::kMix}},
      {"att.x_a", {"attn.x_a", Form::kMix}},
      {"att.x_g", {"attn.x_g", Form::kMix}},
      {"att.w0", {"attn.w_lora.lora.2.bias", Form::kVector}},
      {"att.w1", {"attn.w_lora.lora.0.weight", Form::kTransposed}},
      {"att.w2", {"attn.w_lora.lora.2.weight", Form::kTransposed}},
      {"att.a0", {"attn.a_lora.lora.2.bias", Form::kVector}},
      {"att.a1", {"attn.a_lora.lora.0.weight", Form::kTransposed}},
      {"att.a2", {"attn.a_lora.lora.2.weight", Form::kTransposed}},
      {"att.v0", {"attn.v_lora.lora.2.bias", Form::kVector}},
      {"att.v1", {"attn.v_lora.lora.0.weight", Form::kTransposed}},
      {"att.v2", {"attn.v_lora.lora.2.weight", Form::kTransposed}},
      {"att.g1", {"attn.g_lora.lora.0.weight", Form::kTransposed}},
      {"att.g2", {"attn.g_lora.lora.2.weight", Form::kTransposed}},
      {"att.k_k", {"attn.k_k", Form::kVector}},
      {"att.k_a", {"attn.k_a", Form::kVector}},
      {"att.r_k", {"attn.r_k"}},
      {"att.receptance.weight", {"attn.r_proj.weight"}},
      {"att.key.weight", {"attn.k_proj.weight"}},
      {"att.value.weight", {"attn.v_proj.weight"}},
      {"att.output.weight", {"attn.o_proj.weight"}},
      {"att.ln_x.weight", {"attn.g_norm.weight"}},
      {"att.ln_x.bias", {"attn.g_norm.bias"}},
      {"ffn.x_k", {"ffn.x_k", Form::kVector}},
      {"ffn.key.weight", {"ffn.key.weight"}},
      {"ffn.value.weight", {"ffn.value.weight"}}};
  return places;
}

// The N of "blocks.N.rest", and the rest; nothing: it is no such name.
struct InBlock {
  int block;
  std::string_view rest;
};
std::optional<InBlock> in_block(std::string_view name) {
  constexpr std::string_view kPrefix = "blocks.";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  InBlock found{};
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), found.block);
  if (error != std::errc() || found.block < 0 || found.block >= kMostBlocks) return std::nullopt;
  name.remove_prefix(static_cast<size_t>(end - name.data()));
  if (!name.starts_with('.')) return std::nullopt;
  found.rest = name.substr(1);
  return found;
}

[[noreturn]] void refuse(const std::string& where, std::string_view tensor) {
  const bool deep = tensor.find(".s_emb") != std::string_view::npos ||
                    tensor.find("qkv_") != std::string_view::npos;
  const bool older = tensor.find("time_") != std::string_view::npos;
  throw InputError(
      where,
      fmt::format("holds the tensor {}, which {}", in_quotes(std::string(tensor)),
                  deep ? "belongs to a variant of RWKV-7 with embeddings in its layers (DeepEmbed)"
                  : older ? "belongs to RWKV before version 7"
                          : "RWKV-7 does not have"),
      kRemedy);
}

// Puts tensors where they belong.
class Translation {
 public:
  Translation(const fs::path& path, TensorFile file)
      : where_(path.string()), room_(file.map.bytes().size()), ours_(std::move(file)) {
    theirs_ = std::exchange(ours_.tensors, {});
  }

  RwkvArchive run() {
    for (const auto& [name, tensor] : theirs_) translate(name, tensor);
    nlohmann::json config = sizes();
    std::string text = config.dump();
    return {{std::move(text), std::move(config)}, std::move(ours_)};
  }

 private:
  void translate(const std::string& name, const StoredTensor& tensor) {
    if (const auto found = outside_blocks().find(name); found != outside_blocks().end())
      return put(found->second.name, tensor, found->second.form);
    const auto inside = in_block(name);
    if (!inside) refuse(where_, name);
    const auto found = in_blocks().find(inside->rest);
    if (found == in_blocks().end()) refuse(where_, name);
    layers_ = std::max(layers_, inside->block + 1);
    if (inside->block == 0 && inside->rest.starts_with("att.v") && inside->rest.size() == 6) return;
    put(fmt::format("model.layers.{}.{}", inside->block, found->second.name), tensor,
        found->second.form);
  }

  void put(const std::string& name, StoredTensor tensor, Form form) {
    if (form == Form::kVector) tensor.shape = {tensor.count()};
    if (form == Form::kMix) tensor.shape = {1, 1, tensor.count()};
    if (form == Form::kTransposed) tensor = transposed(tensor, name);
    ours_.tensors.emplace(name, std::move(tensor));
  }

  // Copies: all of them together may not take more than the file, whose tensors may share storages.
  StoredTensor transposed(const StoredTensor& tensor, const std::string& name) {
    if (tensor.shape.size() != 2)
      throw InputError(where_, fmt::format("the tensor of {} has the shape {}, expected a matrix",
                                           name, to_string(tensor.shape)));
    const size_t width = size_of(tensor.type), bytes = tensor.bytes.size();
    if (bytes > room_)
      throw InputError(where_, "has low-rank matrices that need more memory than the file");
    room_ -= bytes;
    const auto rows = static_cast<size_t>(tensor.shape[0]),
               columns = static_cast<size_t>(tensor.shape[1]);
    std::vector<std::byte>& out = ours_.owned.emplace_back(bytes);
    for (size_t row = 0; row < rows; ++row)
      for (size_t column = 0; column < columns; ++column)
        std::memcpy(out.data() + (column * rows + row) * width,
                    tensor.bytes.data() + (row * columns + column) * width, width);
    StoredTensor made = tensor;
    std::swap(made.shape[0], made.shape[1]);
    made.bytes = out;
    return made;
  }

  // A size of a tensor under its new name.
  std::int64_t size(const std::string& name, size_t dimension) const {
    const auto found = ours_.tensors.find(name);
    if (found == ours_.tensors.end() || found->second.shape.size() <= dimension)
      throw InputError(where_, fmt::format("holds no tensor that could be {}", name), kRemedy);
    return found->second.shape[dimension];
  }

  nlohmann::json sizes() const {
    const std::string first = "model.layers.0.";
    // The first layer has no share of its own values.
    const std::string share = "model.layers.1.attn.v_lora.lora.0.weight";
    return {{"model_type", "rwkv7"},
            {"hidden_size", size("model.embeddings.weight", 1)},
            {"vocab_size", size("model.embeddings.weight", 0)},
            {"num_hidden_layers", layers_},
            {"head_dim", size(first + "attn.r_k", 1)},
            {"intermediate_size", size(first + "ffn.key.weight", 0)},
            {"norm_eps", kEpsilon},
            {"decay_low_rank_dim", size(first + "attn.w_lora.lora.0.weight", 0)},
            {"a_low_rank_dim", size(first + "attn.a_lora.lora.0.weight", 0)},
            {"gate_low_rank_dim", size(first + "attn.g_lora.lora.0.weight", 0)},
            {"v_low_rank_dim", layers_ > 1 ? size(share, 0) : 1},
            {"tie_word_embeddings", false}};
  }

  std::string where_;
  size_t room_;  // bytes that copies may take
  TensorFile ours_;
  TensorMap theirs_;
  int layers_ = 0;
};

}  // namespace

std::optional<fs::path> find_rwkv_archive(const fs::path& directory) {
  std::error_code ignored;
  if (fs::exists(directory / "config.json", ignored)) return std::nullopt;
  std::vector<fs::path> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, ignored))
    if (entry.path().extension() == ".pth" &&
        !entry.path().filename().string().starts_with("consolidated"))
      found.push_back(entry.path());
  if (found.size() != 1 || !fs::is_regular_file(found.front(), ignored) ||
      !ZipArchive::is_zip(MappedFile(found.front()).bytes()))
    return std::nullopt;
  return found.front();
}

RwkvArchive open_rwkv_archive(const fs::path& path) {
  return Translation(path, open_torch_archive(path)).run();
}

void split_rwkv_mixes(TensorMap& tensors) {
  constexpr std::string_view kOld = ".attn.x_x";
  constexpr std::string_view kParts = "rwkvag";
  TensorMap made;
  std::erase_if(tensors, [&](const auto& entry) {
    const auto& [name, all] = entry;
    if (!name.ends_with(kOld)) return false;
    if (all.shape.empty() || all.shape.front() != static_cast<std::int64_t>(kParts.size()))
      throw InputError(all.file, fmt::format("tensor {}: has the shape {}, expected {} mixes", name,
                                             to_string(all.shape), kParts.size()));
    const size_t bytes = all.bytes.size() / kParts.size();
    for (size_t i = 0; i < kParts.size(); ++i) {
      StoredTensor part = all;
      part.shape = {1, 1, all.count() / static_cast<std::int64_t>(kParts.size())};
      part.bytes = all.bytes.subspan(i * bytes, bytes);
      made.emplace(name.substr(0, name.size() - 1) + kParts[i], std::move(part));
    }
    return true;
  });
  tensors.merge(made);
}

}  // namespace factflow
