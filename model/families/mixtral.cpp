// Mixtral (Jiang et al. 2024), as transformers' MixtralForCausalLM saves it: Mistral's attention,
// and a mixture of experts in place of every MLP.
#include <fmt/format.h>

#include "model/families/building_blocks.hpp"
#include "model/families/declarations.hpp"
#include "model/families/hybrid.hpp"

namespace factflow {
namespace {

const LayerNames& names() {
  static const LayerNames all = [] {
    LayerNames made;
    made.final_norm = "model.norm";
    made.norms = {"input_layernorm", "post_attention_layernorm"};
    made.mlp = "block_sparse_moe.";
    made.mixture.matrices = {"w1", "w3", "w2"};
    return made;
  }();
  return all;
}

}  // namespace

Architecture read_mixtral(ConfigReader& config) {
  Architecture architecture = read_stream(config, {4096, 32, 32000});
  AttentionShape attention = read_attention(config, architecture.hidden, {.null_head_size = true});
  attention.rotary = read_plain_rotary(config, attention.head_size, 1e6);
  if (config.has("sliding_window") && !config.is_null("sliding_window"))
    attention.sliding_window = config.integer("sliding_window");
  MixtureShape mixture;
  mixture.hidden = architecture.hidden;
  mixture.inner = config.size("intermediate_size", 14336);
  mixture.routing.experts = config.size("num_local_experts", 8);
  mixture.routing.chosen = config.integer("num_experts_per_tok", 2, 1, mixture.routing.experts);
  mixture.routing.normalised = true;
  expect_silu(config, "hidden_act");
  config.ignore({"output_router_logits", "router_aux_loss_coef", "router_jitter_noise"});
  config.expect_layers("layer_types", architecture.layers,
                       {attention.sliding_window > 0 ? "sliding_attention" : "full_attention"});
  architecture.blocks.assign(
      static_cast<size_t>(architecture.layers),
      {{std::make_shared<AttentionShape>(attention)}, {std::make_shared<MixtureShape>(mixture)}});
  return architecture;
}

TensorTable mixtral_tensors(const Architecture& architecture) {
  return tensors_in_turn(architecture, names());
}

NetworkParts mixtral_parts(const Architecture& architecture, Weights& weights) {
  return parts_in_turn(architecture, weights, names());
}

}  // namespace factflow
