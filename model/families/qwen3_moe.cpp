// Qwen3-MoE (Alibaba 2025), as transformers' Qwen3MoeForCausalLM saves it: Qwen3's attention, and a
// mixture of experts in place of the MLP of most layers.
#include <algorithm>

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
    made.mlp = "mlp.";
    return made;
  }();
  return all;
}

MixtureShape read_experts(ConfigReader& config, int hidden) {
  MixtureShape mixture;
  mixture.hidden = hidden;
  mixture.inner = config.size("moe_intermediate_size", 768);
  mixture.routing.experts = config.size(config.spelling("num_experts", "num_local_experts"), 128);
  mixture.routing.chosen = config.integer("num_experts_per_tok", 8, 1, mixture.routing.experts);
  mixture.routing.normalised = config.flag("norm_topk_prob", false);
  config.ignore({"output_router_logits", "router_aux_loss_coef"});
  return mixture;
}

// With a window all layers slide.
int read_window(ConfigReader& config) {
  const bool slides = config.flag("use_sliding_window", false);
  config.ignore({"max_window_layers"});
  if (slides && !config.is_null("sliding_window")) return config.integer("sliding_window", 4096);
  config.ignore({"sliding_window"});
  return 0;
}

}  // namespace

Architecture read_qwen3_moe(ConfigReader& config) {
  Architecture architecture = read_stream(config, {2048, 24, 151936, 1e-6});
  AttentionShape attention = read_attention(config, architecture.hidden, {32, 4, 0});
  attention.head_norms = AttentionShape::HeadNorms::kEachHead;
  attention.query_key_value_bias = attention.output_bias = config.flag("attention_bias", false);
  attention.rotary = read_plain_rotary(config, attention.head_size, 10000);
  attention.sliding_window = read_window(config);
  MlpShape mlp;
  mlp.inner = config.size("intermediate_size", 6144);
  mlp.gated = true;
  const MixtureShape mixture = read_experts(config, architecture.hidden);
  const int step = config.integer("decoder_sparse_step", 1);
  expect_silu(config, "hidden_act");
  const nlohmann::json& dense = config.raw("mlp_only_layers");
  if (!dense.is_null() && !dense.is_array())
    config.fail("mlp_only_layers",
                fmt::format("expected a list of layers, found {}", dense.dump()));
  config.expect_layers("layer_types", architecture.layers,
                       {attention.sliding_window > 0 ? "sliding_attention" : "full_attention"});
  for (int i = 0; i < architecture.layers; ++i) {
    std::shared_ptr<const MixerShape> feed = std::make_shared<MixtureShape>(mixture);
    if ((i + 1) % step != 0 || std::find(dense.begin(), dense.end(), i) != dense.end())
      feed = std::make_shared<MlpShape>(mlp);
    architecture.blocks.push_back({{std::make_shared<AttentionShape>(attention)}, {feed}});
  }
  return architecture;
}

TensorTable qwen3_moe_tensors(const Architecture& architecture) {
  return tensors_in_turn(architecture, names());
}

NetworkParts qwen3_moe_parts(const Architecture& architecture, Weights& weights) {
  return parts_in_turn(architecture, weights, names());
}

}  // namespace factflow
