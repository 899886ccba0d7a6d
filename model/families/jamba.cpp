// Jamba (Lieber et al. 2024), as transformers' JambaForCausalLM saves it: Mamba-1 with weighted
// norms on dt, B and C, attention without positions every few layers, and experts every few layers.
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
    made.mixture.router = "router";
    return made;
  }();
  return all;
}

// Which layers are of a kind: those at an offset in every period.
struct Period {
  int length = 1, offset = 0;
  bool has(int layer) const { return layer % length == offset; }
};

Period read_period(ConfigReader& config, const std::string& kind, int length, int offset) {
  Period period;
  period.length = config.integer(kind + "_period", length);
  period.offset = config.integer(kind + "_offset", offset, 0);
  if (period.offset >= period.length)
    config.fail(kind + "_offset", fmt::format("expected less than the period, {}, found {}",
                                              period.length, period.offset));
  return period;
}

MambaShape read_mamba_block(ConfigReader& config, const Architecture& architecture) {
  MambaShape shape;
  shape.inner = config.expanded("mamba_expand", 2, architecture.hidden);
  shape.states = config.size("mamba_d_state", 16);
  shape.conv_kernel = config.integer("mamba_d_conv", 4, 1, kMostTaps);
  shape.time_step_rank = config.says("mamba_dt_rank", "auto") || !config.has("mamba_dt_rank")
                             ? (architecture.hidden + 15) / 16
                             : config.integer("mamba_dt_rank");
  shape.bias = config.flag("mamba_proj_bias", false);
  shape.conv_bias = config.flag("mamba_conv_bias", true);
  shape.normalise_parameters = shape.parameter_weights = true;
  shape.parameter_epsilon = architecture.norm_epsilon;
  if (shape.states > kMostStates)
    config.fail("mamba_d_state",
                fmt::format("at most {} states per channel are supported, found {}", kMostStates,
                            shape.states));
  config.ignore(
      {"use_associative_scan", "use_mamba_kernels", "use_mambapy", "mamba_inner_layernorms"});
  return shape;
}

}  // namespace

Architecture read_jamba(ConfigReader& config) {
  Architecture architecture = read_stream(config, {4096, 32, 65536, 1e-6});
  AttentionShape attention = read_attention(config, architecture.hidden, {});
  config.ignore({"sliding_window"});  // of no version's forward
  const MambaShape mamba = read_mamba_block(config, architecture);
  const Period attends = read_period(config, "attn_layer", 8, 4),
               routes = read_period(config, "expert_layer", 2, 1);
  MlpShape mlp;
  mlp.inner = config.size("intermediate_size", 14336);
  mlp.gated = true;
  MixtureShape mixture;
  mixture.hidden = architecture.hidden;
  mixture.inner = mlp.inner;
  mixture.routing.experts = config.size("num_experts", 16);
  mixture.routing.chosen = config.integer("num_experts_per_tok", 2, 1, mixture.routing.experts);
  expect_silu(config, "hidden_act");
  config.ignore({"num_logits_to_keep", "output_router_logits", "router_aux_loss_coef",
                 "calc_logits_for_entire_prompt", "max_position_embeddings"});
  config.expect_layers("layer_types", architecture.layers,
                       {"attention", "mamba", "full_attention", "linear_attention"});
  config.ignore({"layers_block_type"});
  for (int i = 0; i < architecture.layers; ++i) {
    std::shared_ptr<const MixerShape> mixer = std::make_shared<MambaShape>(mamba),
                                      feed = std::make_shared<MlpShape>(mlp);
    if (attends.has(i)) mixer = std::make_shared<AttentionShape>(attention);
    if (mixture.routing.experts > 1 && routes.has(i))
      feed = std::make_shared<MixtureShape>(mixture);
    architecture.blocks.push_back({{mixer}, {feed}});
  }
  return architecture;
}

TensorTable jamba_tensors(const Architecture& architecture) {
  return tensors_in_turn(architecture, names());
}

NetworkParts jamba_parts(const Architecture& architecture, Weights& weights) {
  return parts_in_turn(architecture, weights, names());
}

}  // namespace factflow
