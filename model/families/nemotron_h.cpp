// Nemotron-H (NVIDIA 2025), as transformers' NemotronHForCausalLM saves it: one sublayer a layer,
// of Mamba-2, attention without positions, an MLP with squared ReLU, or experts of such MLPs.
#include <algorithm>

#include <fmt/format.h>

#include "model/families/building_blocks.hpp"
#include "model/families/declarations.hpp"
#include "model/families/hybrid.hpp"
#include "model/limits.hpp"

namespace factflow {
namespace {

const LayerNames& names() {
  static const LayerNames all = [] {
    LayerNames made;
    made.embedding = "backbone.embeddings.weight";
    made.layers = "backbone.layers.";
    made.final_norm = "backbone.norm_f";
    made.norms = {"norm"};
    made.attention = made.recurrent = made.mlp = "mixer.";
    return made;
  }();
  return all;
}

// The class's, where a file says nothing.
const std::vector<LayerKind> kDefaultKinds = {LayerKind::kRecurrent, LayerKind::kExperts,
                                              LayerKind::kAttention, LayerKind::kMlp};

LayerKind kind_of(ConfigReader& config, char letter) {
  switch (letter) {
    case 'M':
      return LayerKind::kRecurrent;
    case '*':
      return LayerKind::kAttention;
    case '-':
      return LayerKind::kMlp;
    case 'E':
      return LayerKind::kExperts;
    default:
      config.fail("hybrid_override_pattern",
                  fmt::format("expected the letters M, *, - and E, found '{}'", letter));
  }
}

// Either spelling, whose length rules over num_hidden_layers.
std::vector<LayerKind> read_kinds(ConfigReader& config) {
  auto kinds = read_layer_kinds(config, "layers_block_type", 0);
  if (!config.has("hybrid_override_pattern") || config.is_null("hybrid_override_pattern"))
    return kinds.value_or(kDefaultKinds);
  std::vector<LayerKind> pattern;
  for (const char letter : config.word("hybrid_override_pattern"))
    pattern.push_back(kind_of(config, letter));
  if (kinds && *kinds != pattern)
    config.fail("hybrid_override_pattern", "says something else than layers_block_type");
  if (pattern.empty() || pattern.size() > static_cast<size_t>(kMostLayers))
    config.fail("hybrid_override_pattern", fmt::format("expected 1 to {} letters", kMostLayers));
  return pattern;
}

Mamba2Shape read_mamba_block(ConfigReader& config) {
  Mamba2Shape shape;
  shape.heads = config.size("mamba_num_heads", 128);
  shape.head_size = config.size("mamba_head_dim", 64);
  config.check_width("mamba_num_heads", static_cast<std::int64_t>(shape.heads) * shape.head_size);
  shape.inner = shape.heads * shape.head_size;
  shape.groups = config.size("n_groups", 8);
  shape.states = config.size("ssm_state_size", 128);
  shape.conv_kernel = config.integer("conv_kernel", 4, 1, kMostTaps);
  shape.bias = shape.output_bias = config.flag("use_bias", false);
  shape.conv_bias = config.flag("use_conv_bias", true);
  shape.dt_min = config.number("time_step_min", 0.001);
  check_mamba2(config, "n_groups", shape);
  shape.norm_group = shape.inner / shape.groups;
  expect_silu(config, "mamba_hidden_act");
  // The class reads none of these.
  config.ignore({"expand", "mamba_proj_bias", "time_step_limit", "time_step_max", "time_step_floor",
                 "chunk_size", "mamba_ssm_cache_dtype", "use_mamba_kernels",
                 "rescale_prenorm_residual", "residual_in_fp32", "time_step_rank"});
  return shape;
}

MixtureShape read_experts(ConfigReader& config, int hidden) {
  MixtureShape mixture;
  Routing& routing = mixture.routing;
  routing.weights = Routing::Weights::kScores;
  routing.experts = config.size("n_routed_experts", 8);
  routing.chosen = config.integer("num_experts_per_tok", 2, 1, routing.experts);
  routing.normalised = config.flag("norm_topk_prob", true);
  routing.scale = config.number("routed_scaling_factor", 1);
  routing.groups = config.integer("n_group", 1, 1, routing.experts);
  routing.chosen_groups = config.integer("topk_group", 1, 1, routing.groups);
  const int in_group = routing.experts / routing.groups;
  if (routing.experts % routing.groups != 0 || (routing.groups > 1 && in_group < 2))
    config.fail("n_group", fmt::format("expected groups of two or more of the {} experts, found {}",
                                       routing.experts, routing.groups));
  if (routing.chosen > in_group * routing.chosen_groups)
    config.fail("topk_group", fmt::format("leaves {} experts to choose {} from",
                                          in_group * routing.chosen_groups, routing.chosen));
  mixture.hidden = hidden;
  mixture.inner = config.size("moe_intermediate_size", 7688);
  mixture.latent = config.is_null("moe_latent_size") || !config.has("moe_latent_size")
                       ? 0
                       : config.integer("moe_latent_size");
  mixture.gated = false;
  mixture.squared = true;
  mixture.activation = kernels::Activation::kRelu;
  mixture.shared_inner = config.size("moe_shared_expert_intermediate_size", 7688);
  config.expect("n_shared_experts", 1);
  return mixture;
}

void ignore_experts(ConfigReader& config) {
  config.ignore({"n_routed_experts", "num_experts_per_tok", "norm_topk_prob", "n_group",
                 "routed_scaling_factor", "topk_group", "moe_intermediate_size", "moe_latent_size",
                 "moe_shared_expert_intermediate_size", "n_shared_experts"});
}

}  // namespace

Architecture read_nemotron_h(ConfigReader& config) {
  Architecture architecture;
  architecture.hidden = config.size("hidden_size", 4096);
  architecture.vocabulary = config.size("vocab_size", 131072);
  architecture.norm_epsilon = config.number("layer_norm_epsilon", 1e-5);
  architecture.tied_head = false;  // whatever the file says, there is a head
  const std::vector<LayerKind> kinds = read_kinds(config);
  architecture.layers = static_cast<int>(kinds.size());
  const AttentionShape attention = read_attention(config, architecture.hidden, {32, 8, 128});
  const Mamba2Shape mamba = read_mamba_block(config);
  MlpShape mlp;
  mlp.inner = config.size("intermediate_size", 21504);
  mlp.bias = config.flag("mlp_bias", false);
  mlp.squared = true;
  mlp.activation = kernels::Activation::kRelu;
  config.expect("mlp_hidden_act", "relu2");
  MixtureShape mixture;
  const bool routes = std::find(kinds.begin(), kinds.end(), LayerKind::kExperts) != kinds.end();
  if (routes && mlp.bias)  // the class gives some matrices of a mixture biases then, and some not
    config.fail("mlp_bias", "is not supported in a model with experts");
  if (routes)
    mixture = read_experts(config, architecture.hidden);
  else
    ignore_experts(config);
  config.ignore({"num_hidden_layers", "tie_word_embeddings", "attention_bias", "sliding_window",
                 "num_logits_to_keep", "num_nextn_predict_layers", "mtp_layers_block_type",
                 "mtp_hybrid_override_pattern", "moe_shared_expert_overlap", "output_router_logits",
                 "max_position_embeddings", "rms_norm_eps", "attention_head_dim", "layer_types",
                 "rope_parameters"});
  for (const LayerKind kind : kinds) {
    std::shared_ptr<const MixerShape> mixer = std::make_shared<MlpShape>(mlp);
    if (kind == LayerKind::kAttention) mixer = std::make_shared<AttentionShape>(attention);
    if (kind == LayerKind::kRecurrent) mixer = std::make_shared<Mamba2Shape>(mamba);
    if (kind == LayerKind::kExperts) mixer = std::make_shared<MixtureShape>(mixture);
    architecture.blocks.push_back({{mixer}});
  }
  return architecture;
}

// In memory the class calls its base model `model`, and some files have that.
TensorTable nemotron_h_tensors(const Architecture& architecture) {
  TensorTable table = tensors_in_turn(architecture, names());
  for (const TensorEntry& entry : table.entries)
    if (entry.name.starts_with(table.prefix))
      table.renamed.emplace_back("model." + entry.name.substr(table.prefix.size()), entry.name);
  table.ignored = {"mtp."};
  return table;
}

NetworkParts nemotron_h_parts(const Architecture& architecture, Weights& weights) {
  return parts_in_turn(architecture, weights, names());
}

}  // namespace factflow
