// Granite 4 (IBM 2025), as transformers' GraniteMoeHybridForCausalLM saves it: Mamba-2 or
// attention, then a shared gated MLP to which the output of experts may be added; multipliers
// throughout.
#include <fmt/format.h>

#include "model/families/building_blocks.hpp"
#include "model/families/declarations.hpp"
#include "model/families/hybrid.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

constexpr const char* kSharedIn = "shared_mlp.input_linear";
constexpr const char* kSharedOut = "shared_mlp.output_linear";
constexpr const char* kExperts = "block_sparse_moe.";

const LayerNames& names() {
  static const LayerNames all = [] {
    LayerNames made;
    made.final_norm = "model.norm";
    made.norms = {"input_layernorm", "post_attention_layernorm"};
    return made;
  }();
  return all;
}

AttentionShape read_granite_attention(ConfigReader& config, int hidden) {
  AttentionShape attention = read_attention(config, hidden, {32, 0, 0, /*null_key_heads=*/true});
  attention.scale = config.number("attention_multiplier", 1);
  attention.query_key_value_bias = attention.output_bias = config.flag("attention_bias", false);
  const nlohmann::json& positions = config.raw("position_embedding_type");
  if (positions == "rope")
    attention.rotary = read_plain_rotary(config, attention.head_size, 10000);
  else if (positions.is_null() || positions == "nope")
    ignore_rotary(config);
  else
    config.fail("position_embedding_type",
                fmt::format("expected rope, nope or null, found {}", positions.dump()));
  return attention;
}

// What comes behind the second norm.
std::shared_ptr<const MixerShape> read_feed_forward(ConfigReader& config, int hidden) {
  const int shared = config.size("shared_intermediate_size", 1024);
  const int experts = config.says("num_local_experts", 0) ? 0 : config.size("num_local_experts", 8);
  config.ignore({"output_router_logits", "router_aux_loss_coef"});
  expect_silu(config, "hidden_act");
  if (experts == 0) {
    MlpShape mlp;
    mlp.inner = shared;
    mlp.gated = true;
    config.ignore({"num_experts_per_tok", "intermediate_size"});
    return std::make_shared<MlpShape>(mlp);
  }
  MixtureShape mixture;
  mixture.hidden = hidden;
  mixture.inner = config.size("intermediate_size", 11008);
  mixture.shared_inner = shared;
  mixture.routing.weights = Routing::Weights::kChosen;
  mixture.routing.experts = experts;
  mixture.routing.chosen = config.integer("num_experts_per_tok", 2, 1, experts);
  return std::make_shared<MixtureShape>(mixture);
}

std::unique_ptr<Mixer> feed_forward(Weights& weights, BlockLoader& loader, const std::string& layer,
                                    const MixerShape& shape) {
  const std::string in = layer + kSharedIn, out = layer + kSharedOut;
  if (const auto* mlp = dynamic_cast<const MlpShape*>(&shape))
    return std::make_unique<Mlp>(
        *mlp, MlpWeights{weights.projection(in + ".weight"), {}, loader.output(out)});
  const auto& mixture = dynamic_cast<const MixtureShape&>(shape);
  const std::string experts = layer + kExperts;
  const at::Tensor all_in = weights.take(experts + "input_linear.weight"),
                   all_out = weights.take(experts + "output_linear.weight");
  MixtureWeights loaded;
  loaded.router = weights.projection(experts + "router.layer.weight");
  for (std::int64_t e = 0; e < mixture.routing.experts; ++e)
    loaded.experts.push_back({weights.projection(all_in[e]), weights.projection(all_out[e])});
  loaded.shared = {weights.projection(in + ".weight"), weights.projection(out + ".weight")};
  return std::make_unique<Mixture>(mixture, std::move(loaded));
}

}  // namespace

Architecture read_granite_hybrid(ConfigReader& config) {
  Architecture architecture = read_stream(config, {4096, 32, 32000, 1e-6});
  const std::string key = config.spelling("layer_types", "layers_block_type");
  const auto kinds = read_layer_kinds(config, key, architecture.layers)
                         .value_or(std::vector<LayerKind>(static_cast<size_t>(architecture.layers),
                                                          LayerKind::kRecurrent));
  const AttentionShape attention = read_granite_attention(config, architecture.hidden);
  const Mamba2Shape mamba =
      read_mamba2_block(config, config.expanded("mamba_expand", 2, architecture.hidden));
  const auto feed = read_feed_forward(config, architecture.hidden);
  const double scale = config.number("residual_multiplier", 1);
  architecture.embedding_scale = config.number("embedding_multiplier", 1);
  architecture.logits_divisor = config.number("logits_scaling", 1);
  if (!(architecture.logits_divisor > 0))
    config.fail("logits_scaling",
                fmt::format("expected a number above 0, found {}", architecture.logits_divisor));
  for (const LayerKind kind : kinds) {
    if (kind != LayerKind::kAttention && kind != LayerKind::kRecurrent)
      config.fail(key, "expected attention or mamba in every layer");
    LayerShape layer(2);
    layer[0].mixer = std::make_shared<Mamba2Shape>(mamba);
    if (kind == LayerKind::kAttention) layer[0].mixer = std::make_shared<AttentionShape>(attention);
    layer[1].mixer = feed;
    layer[0].scale = layer[1].scale = scale;
    architecture.blocks.push_back(std::move(layer));
  }
  return architecture;
}

TensorTable granite_hybrid_tensors(const Architecture& architecture) {
  const std::int64_t hidden = architecture.hidden;
  return tensors_in_turn(
      architecture, names(),
      [&](TableBuilder& builder, const std::string& layer, const MixerShape& shape) {
        if (shape.mixes_tokens()) return false;
        const auto* mixture = dynamic_cast<const MixtureShape*>(&shape);
        const std::int64_t shared =
            mixture != nullptr ? mixture->shared_inner : dynamic_cast<const MlpShape&>(shape).inner;
        builder.matrix(layer + kSharedIn, 2 * shared, hidden);
        builder.matrix(layer + kSharedOut, hidden, shared);
        if (mixture == nullptr) return true;
        const std::int64_t experts = mixture->routing.experts, inner = mixture->inner;
        builder.tensor(layer + kExperts + "input_linear.weight", {experts, 2 * inner, hidden});
        builder.tensor(layer + kExperts + "output_linear.weight", {experts, hidden, inner});
        builder.matrix(layer + kExperts + "router.layer", experts, hidden);
        return true;
      });
}

NetworkParts granite_hybrid_parts(const Architecture& architecture, Weights& weights) {
  return parts_in_turn(architecture, weights, names(),
                       [&](BlockLoader& loader, const std::string& layer, const MixerShape& shape) {
                         return shape.mixes_tokens() ? nullptr
                                                     : feed_forward(weights, loader, layer, shape);
                       });
}

}  // namespace factflow
