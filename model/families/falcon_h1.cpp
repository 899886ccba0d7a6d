// Falcon-H1 (TII 2025), as transformers' FalconH1ForCausalLM saves it: in every layer attention and
// Mamba-2 side by side on one normed input, then a gated MLP; multipliers throughout.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "model/families/building_blocks.hpp"
#include "model/families/declarations.hpp"
#include "model/families/hybrid.hpp"

namespace factflow {
namespace {

const LayerNames& names() {
  static const LayerNames all;
  return all;
}

// A list of so many numbers; ones if the key is absent or null.
template <size_t kCount>
std::array<double, kCount> read_multipliers(ConfigReader& config, const std::string& key) {
  std::array<double, kCount> numbers;
  numbers.fill(1);
  const nlohmann::json& list = config.raw(key);
  if (list.is_null()) return numbers;
  const auto is_number = [](const nlohmann::json& one) { return one.is_number(); };
  if (!list.is_array() || list.size() != kCount ||
      !std::all_of(list.begin(), list.end(), is_number))
    config.fail(key, fmt::format("expected {} numbers, found {}", kCount, list.dump()));
  std::copy(list.begin(), list.end(), numbers.begin());
  return numbers;
}

int read_inner(ConfigReader& config, int hidden) {
  const int expanded = config.expanded("mamba_expand", 2, hidden);
  return config.is_null("mamba_d_ssm") ? expanded : config.size("mamba_d_ssm", 1024);
}

Mamba2Shape read_mamba_block(ConfigReader& config, int hidden) {
  Mamba2Shape mamba = read_mamba2_block(config, read_inner(config, hidden));
  mamba.output_bias = config.flag("projectors_bias", false);
  mamba.gated_norm = config.flag("mamba_rms_norm", false);
  mamba.norm_before_gate = config.flag("mamba_norm_before_gate", true);
  config.ignore({"mamba_use_mlp", "mlp_expansion_factor"});
  const auto parts = read_multipliers<5>(config, "ssm_multipliers");
  mamba.factors = {parts[0], parts[1], parts[2],
                   parts[3], parts[4], config.number("ssm_in_multiplier", 1)};
  return mamba;
}

AttentionShape read_attention_block(ConfigReader& config, int hidden) {
  AttentionShape attention = read_attention(config, hidden, {.null_key_heads = true});
  attention.query_key_value_bias = attention.output_bias = config.flag("attention_bias", false);
  attention.rotary = read_plain_rotary(config, attention.head_size, 10000);
  attention.input_factor = config.number("attention_in_multiplier", 1);
  attention.key_factor = config.number("key_multiplier", 1);
  return attention;
}

}  // namespace

Architecture read_falcon_h1(ConfigReader& config) {
  Architecture architecture = read_stream(config, {4096, 32, 128000});
  const int hidden = architecture.hidden;
  LayerShape layer(3);
  layer[0].mixer = std::make_shared<Mamba2Shape>(read_mamba_block(config, hidden));
  layer[0].scale = config.number("ssm_out_multiplier", 1);
  layer[0].parallel_with_next = true;
  layer[1].mixer = std::make_shared<AttentionShape>(read_attention_block(config, hidden));
  layer[1].scale = config.number("attention_out_multiplier", 1);
  layer[1].shares_input = true;
  MlpShape mlp;
  mlp.inner = config.size("intermediate_size", 14336);
  mlp.gated = true;
  mlp.bias = config.flag("mlp_bias", false);
  const auto multipliers = read_multipliers<2>(config, "mlp_multipliers");
  mlp.gate_factor = multipliers[0];
  layer[2].mixer = std::make_shared<MlpShape>(mlp);
  layer[2].scale = multipliers[1];
  expect_silu(config, "hidden_act");
  config.expect_layers("layer_types", architecture.layers, {"hybrid"});
  architecture.embedding_scale = config.number("embedding_multiplier", 1);
  const double head = config.number("lm_head_multiplier", 1);
  if (!(head > 0))
    config.fail("lm_head_multiplier", fmt::format("expected a number above 0, found {}", head));
  architecture.logits_divisor = 1 / head;
  architecture.blocks.assign(static_cast<size_t>(architecture.layers), layer);
  return architecture;
}

TensorTable falcon_h1_tensors(const Architecture& architecture) {
  TensorTable table;
  table.prefix = "model.";
  add_embedding_and_head(table, architecture, names().embedding, "lm_head.weight");
  TableBuilder builder(table, architecture.hidden);
  builder.norm(names().final_norm);
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string layer = fmt::format("model.layers.{}.", i);
    for (const std::string& norm : names().norms) builder.norm(layer + norm);
    for (const BlockShape& block : architecture.blocks[static_cast<size_t>(i)])
      builder.mixer(layer, *block.mixer, names());
  }
  return table;
}

NetworkParts falcon_h1_parts(const Architecture& architecture, Weights& weights) {
  BlockLoader loader(weights, architecture.norm_epsilon);
  NetworkParts parts{names().embedding, "lm_head.weight", "", loader.norm(names().final_norm)};
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string layer = fmt::format("model.layers.{}.", i);
    const LayerShape& blocks = architecture.blocks[static_cast<size_t>(i)];
    std::vector<NetworkBlock>& loaded = parts.layers.emplace_back();
    const Norm first = loader.norm(layer + names().norms[0]);
    loaded.push_back({first, loader.mixer(layer, *blocks[0].mixer, names())});
    loaded.push_back({first, loader.mixer(layer, *blocks[1].mixer, names())});
    loaded.push_back(
        {loader.norm(layer + names().norms[1]), loader.mixer(layer, *blocks[2].mixer, names())});
  }
  return parts;
}

}  // namespace factflow
