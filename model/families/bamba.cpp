// Bamba (IBM, Princeton, CMU and UIUC 2024), as transformers' BambaForCausalLM saves it: Mamba-2,
// in some layers attention of which half of each head turns, and a gated MLP in every layer.
#include <set>

#include <fmt/format.h>

#include "model/families/building_blocks.hpp"
#include "model/families/declarations.hpp"
#include "model/families/hybrid.hpp"

namespace factflow {
namespace {

constexpr StreamDefaults kStream{4096, 32, 128000};
constexpr double kRotatedShare = 0.5;

std::set<int> attention_layers(ConfigReader& config, int layers) {
  const nlohmann::json& list = config.raw("attn_layer_indices");
  std::set<int> found;
  if (list.is_null()) return found;
  if (!list.is_array()) config.fail("attn_layer_indices", "expected a list of layers");
  for (const nlohmann::json& layer : list) {
    if (!layer.is_number_integer() || layer < 0 || layer >= layers)
      config.fail("attn_layer_indices",
                  fmt::format("expected layers 0 to {}, found {}", layers - 1, layer.dump()));
    found.insert(layer.get<int>());
  }
  return found;
}

}  // namespace

Architecture read_bamba(ConfigReader& config) {
  Architecture architecture = read_stream(config, kStream);
  const std::set<int> attention_in = attention_layers(config, architecture.layers);
  AttentionShape attention = read_attention(config, architecture.hidden, {.null_key_heads = true});
  attention.query_key_value_bias = attention.output_bias = config.flag("attention_bias", false);
  config.expect("partial_rotary_factor", kRotatedShare);  // the class does not read another
  attention.rotary = read_plain_rotary(config, attention.head_size, 10000, kRotatedShare);
  config.expect("attn_rotary_emb", attention.rotary.dimensions);
  const Mamba2Shape mamba =
      read_mamba2_block(config, config.expanded("mamba_expand", 2, architecture.hidden));
  MlpShape mlp;
  mlp.inner = config.size("intermediate_size", 14336);
  mlp.gated = true;
  mlp.bias = config.flag("mlp_bias", false);
  expect_silu(config, "hidden_act");
  config.ignore({"z_loss_coefficient"});
  config.expect_layers("layer_types", architecture.layers,
                       {"attention", "mamba", "full_attention", "linear_attention"});
  for (int i = 0; i < architecture.layers; ++i) {
    std::shared_ptr<const MixerShape> mixer = std::make_shared<Mamba2Shape>(mamba);
    if (attention_in.contains(i)) mixer = std::make_shared<AttentionShape>(attention);
    architecture.blocks.push_back({{mixer}, {std::make_shared<MlpShape>(mlp)}});
  }
  return architecture;
}

TensorTable bamba_tensors(const Architecture& architecture) {
  return tensors_in_turn(architecture, {});
}

NetworkParts bamba_parts(const Architecture& architecture, Weights& weights) {
  return parts_in_turn(architecture, weights, {});
}

}  // namespace factflow
