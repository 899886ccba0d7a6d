// Zamba2 (Zyphra 2024), as transformers' Zamba2ForCausalLM saves it: Mamba-2 in every layer, whose
// input in some of them is joined by what a block of attention and an MLP makes of the stream and
// the embedding. These blocks share their weights, but for adapters that each use has of its own.
#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "model/families/building_blocks.hpp"
#include "model/families/declarations.hpp"
#include "model/families/hybrid.hpp"
#include "model/mixers/shared_block/shared_block.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

constexpr StreamDefaults kStream{2560, 54, 32000, 1e-5, true};
constexpr double kGatedEpsilon = 1e-5;  // of the gated norm, whatever the file says
constexpr const char *kEmbedding = "model.embed_tokens.weight",
                     *kFinalNorm = "model.final_layernorm", *kShared = "shared_transformer.",
                     *kGateUp = "feed_forward.gate_up_proj", *kDown = "feed_forward.down_proj";
constexpr const char* kHeads[] = {"q", "k", "v"};

std::vector<bool> read_hybrid_layers(ConfigReader& config, int layers) {
  const std::string key = config.spelling("layers_block_type", "layer_types");
  const nlohmann::json& list = config.raw(key);
  if (!list.is_array() || list.size() != static_cast<size_t>(layers))
    config.fail(key, fmt::format("expected a list of {} layers", layers));
  std::vector<bool> hybrid;
  for (const nlohmann::json& word : list) {
    if (word != "hybrid" && word != "mamba" && word != "linear_attention")
      config.fail(key, fmt::format("expected mamba or hybrid, found {}", word.dump()));
    hybrid.push_back(word == "hybrid");
  }
  return hybrid;
}

Mamba2Shape read_mamba(ConfigReader& config, int hidden, bool bias) {
  Mamba2Shape shape;
  shape.inner = config.expanded("mamba_expand", 2, hidden);
  shape.heads = config.size("n_mamba_heads", 8);
  if (shape.inner % shape.heads != 0)
    config.fail("n_mamba_heads", fmt::format("expected a divisor of {} channels, found {}",
                                             shape.inner, shape.heads));
  shape.head_size = shape.inner / shape.heads;
  shape.groups = config.size("mamba_ngroups", 1);
  shape.states = config.size("mamba_d_state", 64);
  shape.conv_kernel = config.integer("mamba_d_conv", 4, 1, kMostTaps);
  shape.bias = shape.output_bias = bias;
  shape.dt_min = config.number("time_step_min", 0.001);
  check_mamba2(config, "mamba_ngroups", shape);
  shape.norm_group = shape.inner / shape.groups;
  config.ignore({"use_conv_bias", "use_mamba_kernels", "use_mem_eff_path", "chunk_size",
                 "time_step_max", "time_step_floor", "time_step_limit", "num_logits_to_keep"});
  return shape;
}

SharedBlockShape read_shared_block(ConfigReader& config, int hidden, bool bias, bool adapted) {
  SharedBlockShape shape;
  shape.hidden = hidden;
  const int both = 2 * hidden;
  AttentionShape& attention = shape.attention;
  attention.heads = config.size("num_attention_heads", 32);
  attention.key_heads = config.is_null("num_key_value_heads")
                            ? attention.heads
                            : config.integer("num_key_value_heads", attention.heads);
  if (both % attention.heads != 0 || attention.heads % attention.key_heads != 0)
    config.fail("num_attention_heads",
                fmt::format("expected a divisor of twice hidden_size = {}, and a multiple of {} "
                            "key heads, found {}",
                            hidden, attention.key_heads, attention.heads));
  if (adapted && attention.key_heads != attention.heads)
    config.fail("num_key_value_heads", "adapters of attention need as many as there are heads");
  attention.head_size = both / attention.heads;
  config.check_width("num_attention_heads", attention.queries());
  attention.scale = 1 / std::sqrt(attention.head_size / 2.0);
  if (config.flag("use_mem_rope", false))
    attention.rotary = read_plain_rotary(config, attention.head_size, 10000);
  else
    ignore_rotary(config);
  MlpShape& mlp = shape.mlp;
  mlp.inner = config.is_null("intermediate_size") ? 4 * hidden
                                                  : config.integer("intermediate_size", 4 * hidden);
  mlp.gated = true;
  mlp.bias = bias;
  mlp.activation = read_activation(config, "hidden_act", "gelu");
  config.expect("use_long_context", false);
  // The class computes them itself.
  config.ignore({"attention_head_dim", "head_dim", "attention_hidden_size", "mamba_headdim",
                 "hybrid_layer_ids", "kv_channels", "num_query_groups"});
  return shape;
}

const SharedBlockShape* shared_block(const Architecture& architecture, int layer) {
  return dynamic_cast<const SharedBlockShape*>(
      architecture.blocks[static_cast<size_t>(layer)].front().mixer.get());
}

// The prefixes of a layer's Mamba, and of the weights that its shared block has.
struct LayerPrefixes {
  std::string layer, mamba, shared;
};

// Shared weights are stored in the first layer that has the block.
LayerPrefixes prefixes(const Architecture& architecture, int layer) {
  const std::string own = fmt::format("model.layers.{}.", layer);
  const SharedBlockShape* shape = shared_block(architecture, layer);
  if (shape == nullptr) return {own, own, ""};
  int first = 0;
  while (shared_block(architecture, first) == nullptr ||
         shared_block(architecture, first)->block != shape->block)
    ++first;
  return {own, own + "mamba_decoder.", fmt::format("model.layers.{}.{}", first, kShared)};
}

// A pair of matrices whose product is added to a matrix.
std::string adapter(const std::string& matrix, int use, int part) {
  return fmt::format("{}_adapter_list.{}.{}.weight", matrix, use, part);
}

// Of the shared block and of its uses of adapters, all under the prefix of the former.
void add_shared(TableBuilder& builder, const std::string& in, const SharedBlockShape& shape) {
  const std::int64_t both = 2 * std::int64_t{shape.hidden};
  builder.tensor(in + "input_layernorm.weight", {both});
  builder.norm(in + "pre_ff_layernorm");
  builder.attention(in + "self_attn.", shape.attention, {}, both);
  builder.matrix(in + kGateUp, 2 * std::int64_t{shape.mlp.inner}, shape.hidden, shape.mlp.bias);
  builder.matrix(in + kDown, shape.hidden, shape.mlp.inner, shape.mlp.bias);
}

void add_adapters(TableBuilder& builder, const std::string& in, const SharedBlockShape& shape) {
  const auto add = [&](const std::string& matrix, std::int64_t out, std::int64_t width) {
    builder.tensor(in + adapter(matrix, shape.use, 0), {shape.adapter_rank, width});
    builder.tensor(in + adapter(matrix, shape.use, 1), {out, shape.adapter_rank});
  };
  const std::int64_t both = 2 * std::int64_t{shape.hidden};
  add(kGateUp, 2 * std::int64_t{shape.mlp.inner}, shape.hidden);
  if (shape.attention_adapters)
    for (const char* part : kHeads) add(fmt::format("self_attn.linear_{}", part), both, both);
}

// Loads shared blocks. What uses have in common exists once.
class SharedLoader {
 public:
  SharedLoader(Weights& weights, double epsilon)
      : weights_(weights), epsilon_(epsilon), rotations_(weights) {}

  std::unique_ptr<Mixer> block(const LayerPrefixes& prefix, const SharedBlockShape& shape) {
    const std::string &in = prefix.shared, attention = in + "self_attn.";
    SharedBlockWeights one;
    one.norm = {weights_.take(in + "input_layernorm.weight"), {}, epsilon_, false};
    one.mlp_norm = {weights_.take(in + "pre_ff_layernorm.weight"), {}, epsilon_, false};
    one.attention.query_key_value = query_key_value(attention, shape);
    one.attention.output = {shared(attention + "o_proj.weight")};
    one.attention.rotations = rotations_.of(shape.attention.rotary);
    one.mlp.in = weights_.projection(
        adapted(weights_.take(in + kGateUp + ".weight"), in + kGateUp, shape.use));
    one.mlp.in_bias = weights_.optional(in + kGateUp + ".bias");
    one.mlp.output = {shared(in + kDown + ".weight"), weights_.optional(in + kDown + ".bias")};
    one.output = {weights_.projection(prefix.layer + "linear.weight")};
    return std::make_unique<SharedBlock>(shape, std::move(one));
  }

 private:
  // A matrix with an adapter's product, which is made once for all, in float64.
  at::Tensor adapted(const at::Tensor& matrix, const std::string& name, int use) {
    const auto part = [&](int i) { return weights_.take(adapter(name, use, i)).to(at::kDouble); };
    return (matrix.to(at::kDouble) + part(1).matmul(part(0))).to(matrix.scalar_type());
  }

  Projection query_key_value(const std::string& in, const SharedBlockShape& shape) {
    if (!shape.attention_adapters) {
      Projection& known = known_[in + "qkv"];
      if (!known.defined())
        known = weights_.projection(
            weights_.stack({in + "q_proj.weight", in + "k_proj.weight", in + "v_proj.weight"}));
      return known;
    }
    std::vector<at::Tensor> parts;
    for (const char* part : kHeads)
      parts.push_back(adapted(weights_.take(fmt::format("{}{}_proj.weight", in, part)),
                              fmt::format("{}linear_{}", in, part), shape.use));
    return weights_.projection(at::cat(parts));
  }

  Projection shared(const std::string& name) {
    Projection& known = known_[name];
    if (!known.defined()) known = weights_.projection(name);
    return known;
  }

  Weights& weights_;
  double epsilon_;
  RotationCache rotations_;
  std::map<std::string, Projection> known_;
};

}  // namespace

Architecture read_zamba2(ConfigReader& config) {
  Architecture architecture = read_stream(config, kStream);
  const bool bias = config.flag("add_bias_linear", false);
  const bool adapted = config.flag("use_shared_attention_adapter", false);
  const int blocks = config.size("num_mem_blocks", 1);
  SharedBlockShape shared = read_shared_block(config, architecture.hidden, bias, adapted);
  shared.attention_adapters = adapted;
  shared.adapter_rank = config.size("adapter_rank", 128);
  const auto mamba = std::make_shared<Mamba2Shape>(read_mamba(config, architecture.hidden, bias));
  for (const bool hybrid : read_hybrid_layers(config, architecture.layers)) {
    LayerShape& layer = architecture.blocks.emplace_back();
    if (hybrid) {
      shared.block = shared.use % blocks;
      layer.push_back({std::make_shared<SharedBlockShape>(shared)});
      ++shared.use;
    }
    layer.push_back({mamba});
  }
  return architecture;
}

TensorTable zamba2_tensors(const Architecture& architecture) {
  TensorTable table;
  table.prefix = "model.";
  add_embedding_and_head(table, architecture, kEmbedding, "lm_head.weight");
  TableBuilder builder(table, architecture.hidden);
  builder.norm(kFinalNorm);
  for (int i = 0; i < architecture.layers; ++i) {
    const LayerPrefixes prefix = prefixes(architecture, i);
    const SharedBlockShape* shape = shared_block(architecture, i);
    if (shape != nullptr) {
      if (prefix.shared == prefix.layer + kShared) add_shared(builder, prefix.shared, *shape);
      add_adapters(builder, prefix.shared, *shape);
      builder.matrix(prefix.layer + "linear", architecture.hidden, architecture.hidden);
    }
    builder.norm(prefix.mamba + "input_layernorm");
    builder.mamba2(prefix.mamba + "mamba.",
                   architecture.mixer<Mamba2Shape>(i, shape == nullptr ? 0 : 1));
  }
  return table;
}

NetworkParts zamba2_parts(const Architecture& architecture, Weights& weights) {
  BlockLoader loader(weights, architecture.norm_epsilon);
  SharedLoader shared(weights, architecture.norm_epsilon);
  NetworkParts parts{kEmbedding, "lm_head.weight", "", loader.norm(kFinalNorm)};
  Norm none;
  none.identity = true;
  for (int i = 0; i < architecture.layers; ++i) {
    const LayerPrefixes prefix = prefixes(architecture, i);
    const SharedBlockShape* shape = shared_block(architecture, i);
    std::vector<NetworkBlock>& loaded = parts.layers.emplace_back();
    if (shape != nullptr) loaded.push_back({none, shared.block(prefix, *shape)});
    const auto& mamba = architecture.mixer<Mamba2Shape>(i, shape == nullptr ? 0 : 1);
    loaded.push_back({loader.norm(prefix.mamba + "input_layernorm"),
                      loader.mamba2(prefix.mamba + "mamba.", mamba, kGatedEpsilon)});
  }
  return parts;
}

}  // namespace factflow
