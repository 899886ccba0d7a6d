// Qwen3-Next and the text models of Qwen3.5 (Alibaba 2025), as transformers saves them: gated delta
// rule, every fourth layer gated attention; an MLP, or experts and a shared one behind a gate.
#include <algorithm>

#include <fmt/format.h>

#include "model/families/building_blocks.hpp"
#include "model/families/declarations.hpp"
#include "model/families/hybrid.hpp"
#include "model/limits.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

constexpr const char* kDelta = "linear_attn.";

// Both store one delta rule in two ways: Qwen3-Next's projections are grouped by key head.
enum class Projections { kGrouped, kPlain };

const LayerNames& names() {
  static const LayerNames all = [] {
    LayerNames made;
    made.final_norm = "model.norm";
    made.norms = {"input_layernorm", "post_attention_layernorm"};
    made.mlp = "mlp.";
    made.one_plus = true;
    made.mixture.shared = "shared_expert.";
    return made;
  }();
  return all;
}

GatedDeltaShape read_delta(ConfigReader& config) {
  GatedDeltaShape shape;
  shape.key_heads = config.size("linear_num_key_heads", 16);
  shape.value_heads = config.size("linear_num_value_heads", 32);
  shape.key_size = config.size("linear_key_head_dim", 128);
  shape.value_size = config.size("linear_value_head_dim", 128);
  shape.conv_kernel = config.integer("linear_conv_kernel_dim", 4, 1, kMostTaps);
  if (shape.value_heads % shape.key_heads != 0)
    config.fail("linear_num_key_heads",
                fmt::format("expected a divisor of {} value heads, found {}", shape.value_heads,
                            shape.key_heads));
  config.check_width("linear_num_value_heads", shape.projected());
  return shape;
}

std::vector<LayerKind> read_kinds(ConfigReader& config, int layers) {
  const int interval = config.integer("full_attention_interval", 4);
  const auto listed = read_layer_kinds(config, "layer_types", layers);
  std::vector<LayerKind> kinds;
  for (int i = 0; i < layers; ++i)
    kinds.push_back((i + 1) % interval == 0 ? LayerKind::kAttention : LayerKind::kRecurrent);
  return listed.value_or(kinds);
}

AttentionShape read_gated_attention(ConfigReader& config, int hidden, int heads, int key_heads) {
  AttentionShape attention = read_attention(config, hidden, {heads, key_heads, 256});
  attention.gated = true;
  attention.head_norms = AttentionShape::HeadNorms::kEachHead;
  attention.query_key_value_bias = attention.output_bias = config.flag("attention_bias", false);
  attention.rotary = read_plain_rotary(config, attention.head_size, 10000, 0.25);
  config.ignore({"attn_output_gate"});  // there is always one
  return attention;
}

MlpShape read_mlp(ConfigReader& config, int fallback) {
  MlpShape mlp;
  mlp.inner = config.size("intermediate_size", fallback);
  mlp.gated = true;
  return mlp;
}

MixtureShape read_experts(ConfigReader& config, int hidden, int experts, int chosen) {
  MixtureShape mixture;
  mixture.hidden = hidden;
  mixture.inner = config.size("moe_intermediate_size", 512);
  mixture.shared_inner = config.size("shared_expert_intermediate_size", 512);
  mixture.shared_gate = true;
  mixture.routing.experts = experts;
  mixture.routing.chosen = config.integer("num_experts_per_tok", chosen, 1, experts);
  mixture.routing.normalised = true;
  return mixture;
}

void ignore_rest(ConfigReader& config) {
  expect_silu(config, "hidden_act");
  config.ignore({"mamba_ssm_dtype", "output_router_logits", "router_aux_loss_coef",
                 "mtp_num_hidden_layers", "mtp_use_dedicated_embeddings", "mlp_only_layers"});
}

Architecture with_layers(Architecture architecture, const std::vector<LayerKind>& kinds,
                         const AttentionShape& attention, const GatedDeltaShape& delta,
                         const std::vector<std::shared_ptr<const MixerShape>>& feed) {
  for (size_t i = 0; i < kinds.size(); ++i) {
    std::shared_ptr<const MixerShape> mixer = std::make_shared<GatedDeltaShape>(delta);
    if (kinds[i] == LayerKind::kAttention) mixer = std::make_shared<AttentionShape>(attention);
    architecture.blocks.push_back({{mixer}, {feed[i]}});
  }
  return architecture;
}

void add_delta(TableBuilder& builder, const std::string& prefix, const GatedDeltaShape& shape,
               std::int64_t hidden, Projections projections) {
  const std::int64_t heads = shape.value_heads, values = shape.values();
  if (projections == Projections::kGrouped) {
    builder.matrix(prefix + "in_proj_qkvz", shape.conv_channels() + values, hidden);
    builder.matrix(prefix + "in_proj_ba", 2 * heads, hidden);
  } else {
    builder.matrix(prefix + "in_proj_qkv", shape.conv_channels(), hidden);
    builder.matrix(prefix + "in_proj_z", values, hidden);
    builder.matrix(prefix + "in_proj_b", heads, hidden);
    builder.matrix(prefix + "in_proj_a", heads, hidden);
  }
  builder.tensor(prefix + "conv1d.weight", {shape.conv_channels(), 1, shape.conv_kernel});
  builder.delta(prefix, shape, "norm", "out_proj");
}

// Of each key head q, k, v and z of its value heads, and b and a of these: all of q, then all of k,
// and so on.
at::Tensor ungrouped(const GatedDeltaShape& shape, const at::Tensor& qkvz, const at::Tensor& ba) {
  const std::int64_t keys = shape.key_size, per = shape.value_heads / shape.key_heads,
                     values = per * shape.value_size;
  const auto split = [&](const at::Tensor& rows, std::vector<std::int64_t> sizes) {
    std::vector<at::Tensor> parts =
        rows.unflatten(0, {shape.key_heads, -1}).split_with_sizes(sizes, 1);
    for (at::Tensor& part : parts) part = part.flatten(0, 1);
    return parts;
  };
  std::vector<at::Tensor> parts = split(qkvz, {keys, keys, values, values});
  for (const at::Tensor& part : split(ba, {per, per})) parts.push_back(part);
  return at::cat(parts);
}

at::Tensor in_projection(Weights& weights, const std::string& prefix, const GatedDeltaShape& shape,
                         Projections projections) {
  if (projections == Projections::kGrouped)
    return ungrouped(shape, weights.take(prefix + "in_proj_qkvz.weight"),
                     weights.take(prefix + "in_proj_ba.weight"));
  return weights.stack({prefix + "in_proj_qkv.weight", prefix + "in_proj_z.weight",
                        prefix + "in_proj_b.weight", prefix + "in_proj_a.weight"});
}

TensorTable hybrid_tensors(const Architecture& architecture, Projections projections) {
  TensorTable table = tensors_in_turn(
      architecture, names(),
      [&](TableBuilder& builder, const std::string& layer, const MixerShape& mixer) {
        const auto* shape = dynamic_cast<const GatedDeltaShape*>(&mixer);
        if (shape == nullptr) return false;
        add_delta(builder, layer + kDelta, *shape, architecture.hidden, projections);
        return true;
      });
  table.ignored = {"mtp.", "model.visual."};
  return table;
}

NetworkParts hybrid_parts(const Architecture& architecture, Weights& weights,
                          Projections projections) {
  return parts_in_turn(architecture, weights, names(),
                       [&](BlockLoader& loader, const std::string& layer,
                           const MixerShape& mixer) -> std::unique_ptr<Mixer> {
                         const auto* shape = dynamic_cast<const GatedDeltaShape*>(&mixer);
                         if (shape == nullptr) return nullptr;
                         const std::string delta = layer + kDelta;
                         return loader.delta(delta, *shape, "norm", architecture.norm_epsilon,
                                             "out_proj",
                                             in_projection(weights, delta, *shape, projections),
                                             weights.take(delta + "conv1d.weight"));
                       });
}

}  // namespace

Architecture read_qwen3_next(ConfigReader& config) {
  Architecture architecture = read_stream(config, {2048, 48, 151936, 1e-6});
  const int layers = architecture.layers;
  const AttentionShape attention = read_gated_attention(config, architecture.hidden, 16, 2);
  const GatedDeltaShape delta = read_delta(config);
  const std::shared_ptr<const MixerShape> mlp = std::make_shared<MlpShape>(read_mlp(config, 5632));
  const int experts = config.says("num_experts", 0) ? 0 : config.size("num_experts", 512),
            step = config.integer("decoder_sparse_step", 1);
  std::shared_ptr<const MixerShape> mixture;
  const bool normalised = config.flag("norm_topk_prob", true);
  if (experts > 0) {
    MixtureShape shape = read_experts(config, architecture.hidden, experts, 10);
    shape.routing.normalised = normalised;
    mixture = std::make_shared<MixtureShape>(shape);
  } else {
    config.ignore_unless_null(
        {"num_experts_per_tok", "moe_intermediate_size", "shared_expert_intermediate_size"});
  }
  const nlohmann::json& dense = config.raw("mlp_only_layers");
  const auto is_dense = [&](int layer) {
    return dense.is_array() && std::find(dense.begin(), dense.end(), layer) != dense.end();
  };
  if (!dense.is_null() && !dense.is_array())
    config.fail("mlp_only_layers", "expected a list of layers");
  std::vector<std::shared_ptr<const MixerShape>> feed;
  for (int i = 0; i < layers; ++i)
    feed.push_back(mixture != nullptr && (i + 1) % step == 0 && !is_dense(i) ? mixture : mlp);
  const std::vector<LayerKind> kinds = read_kinds(config, layers);
  ignore_rest(config);
  return with_layers(std::move(architecture), kinds, attention, delta, feed);
}

Architecture read_qwen3_5(ConfigReader& config) {
  Architecture architecture = read_stream(config, {4096, 32, 248320, 1e-6});
  const AttentionShape attention = read_gated_attention(config, architecture.hidden, 16, 4);
  const GatedDeltaShape delta = read_delta(config);
  const std::vector<std::shared_ptr<const MixerShape>> feed(
      static_cast<size_t>(architecture.layers),
      std::make_shared<MlpShape>(read_mlp(config, 12288)));
  const std::vector<LayerKind> kinds = read_kinds(config, architecture.layers);
  ignore_rest(config);
  return with_layers(std::move(architecture), kinds, attention, delta, feed);
}

Architecture read_qwen3_5_moe(ConfigReader& config) {
  Architecture architecture = read_stream(config, {2048, 40, 248320, 1e-6});
  const AttentionShape attention = read_gated_attention(config, architecture.hidden, 16, 2);
  const GatedDeltaShape delta = read_delta(config);
  const int experts = config.size("num_experts", 256);
  config.ignore({"intermediate_size"});  // there are no layers without experts
  const MixtureShape mixture = read_experts(config, architecture.hidden, experts, 8);
  const std::vector<std::shared_ptr<const MixerShape>> feed(
      static_cast<size_t>(architecture.layers), std::make_shared<MixtureShape>(mixture));
  const std::vector<LayerKind> kinds = read_kinds(config, architecture.layers);
  ignore_rest(config);
  return with_layers(std::move(architecture), kinds, attention, delta, feed);
}

TensorTable qwen3_next_tensors(const Architecture& architecture) {
  return hybrid_tensors(architecture, Projections::kGrouped);
}

NetworkParts qwen3_next_parts(const Architecture& architecture, Weights& weights) {
  return hybrid_parts(architecture, weights, Projections::kGrouped);
}

// Published files hold the text model inside one that also sees.
TensorTable qwen3_5_tensors(const Architecture& architecture) {
  TensorTable table = hybrid_tensors(architecture, Projections::kPlain);
  for (const TensorEntry& entry : table.entries)
    if (entry.name.starts_with(table.prefix))
      table.renamed.emplace_back("model.language_model." + entry.name.substr(table.prefix.size()),
                                 entry.name);
  return table;
}

NetworkParts qwen3_5_parts(const Architecture& architecture, Weights& weights) {
  return hybrid_parts(architecture, weights, Projections::kPlain);
}

}  // namespace factflow
