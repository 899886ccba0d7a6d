// OLMo-Hybrid (Ai2 2026), as transformers' OlmoHybridForCausalLM saves it: gated delta rule with
// norms in front, every fourth layer attention with norms behind; gated MLPs.
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
constexpr double kDeltaEpsilon = 1e-5;  // of the norm behind the delta rule, whatever the file says

const LayerNames& names() {
  static const LayerNames all = [] {
    LayerNames made;
    made.final_norm = "model.norm";
    made.mlp = "mlp.";
    return made;
  }();
  return all;
}
// Norms of mixer and MLP: in front of them, or behind them.
const std::vector<std::string> kInFront = {"attention_layer_norm", "feedforward_layer_norm"},
                               kBehind = {"post_attention_layernorm", "post_feedforward_layernorm"};

bool attends(const Architecture& architecture, int layer) {
  return architecture.blocks[static_cast<size_t>(layer)].front().mixer->path() == Path::kAttention;
}

std::vector<LayerKind> read_kinds(ConfigReader& config, int layers) {
  if (const auto listed = read_layer_kinds(config, "layer_types", layers)) return *listed;
  std::vector<LayerKind> kinds;
  for (int i = 0; i < layers; ++i)
    kinds.push_back(i % 4 == 3 ? LayerKind::kAttention : LayerKind::kRecurrent);
  if (layers < 4) kinds.back() = LayerKind::kAttention;
  return kinds;
}

GatedDeltaShape read_delta(ConfigReader& config, int hidden, int heads) {
  GatedDeltaShape shape;
  // Null is as good as absence.
  const auto size = [&](const char* key, int fallback) {
    return config.is_null(key) ? fallback : config.integer(key, fallback);
  };
  shape.key_heads = size("linear_num_key_heads", heads);
  shape.value_heads = size("linear_num_value_heads", heads);
  shape.key_size = size("linear_key_head_dim", 3 * hidden / (4 * shape.key_heads));
  shape.value_size = size("linear_value_head_dim", 2 * shape.key_size);
  shape.conv_kernel = config.integer("linear_conv_kernel_dim", 4, 1, kMostTaps);
  shape.largest_beta = config.flag("linear_allow_neg_eigval", true) ? 2 : 1;
  if (shape.key_size < 1 || shape.value_heads % shape.key_heads != 0)
    config.fail("linear_num_key_heads",
                fmt::format("expected a divisor of {} value heads, found {}", shape.value_heads,
                            shape.key_heads));
  config.check_width("linear_num_value_heads", shape.projected());
  return shape;
}

// Rotary is off where the file says that its theta is null, and only there.
Rotary read_positions(ConfigReader& config, int head_size) {
  const nlohmann::json& rope = config.raw("rope_parameters");
  if (rope.is_object() && rope.contains("rope_theta") && rope["rope_theta"].is_null()) {
    ignore_rotary(config);
    return {};
  }
  return read_plain_rotary(config, head_size, 10000);
}

}  // namespace

Architecture read_olmo_hybrid(ConfigReader& config) {
  Architecture architecture = read_stream(config, {3840, 32, 100352, 1e-6});
  AttentionShape attention =
      read_attention(config, architecture.hidden, {30, 0, 0, /*null_key_heads=*/true});
  attention.head_norms = AttentionShape::HeadNorms::kAllHeads;
  attention.query_key_value_bias = attention.output_bias = config.flag("attention_bias", false);
  attention.rotary = read_positions(config, attention.head_size);
  const GatedDeltaShape delta = read_delta(config, architecture.hidden, attention.heads);
  MlpShape mlp;
  mlp.inner = config.size("intermediate_size", 11008);
  mlp.gated = true;
  expect_silu(config, "hidden_act");
  config.ignore({"linear_a_log_max", "linear_a_log_min", "linear_dt_init_floor", "linear_dt_max",
                 "linear_dt_min", "linear_use_gate"});
  for (const LayerKind kind : read_kinds(config, architecture.layers)) {
    LayerShape layer(2);
    layer[0].mixer = std::make_shared<GatedDeltaShape>(delta);
    layer[1].mixer = std::make_shared<MlpShape>(mlp);
    if (kind == LayerKind::kAttention) {
      layer[0].mixer = std::make_shared<AttentionShape>(attention);
      layer[0].norm_behind = layer[1].norm_behind = true;
    }
    architecture.blocks.push_back(std::move(layer));
  }
  return architecture;
}

TensorTable olmo_hybrid_tensors(const Architecture& architecture) {
  const std::int64_t hidden = architecture.hidden;
  TensorTable table;
  table.prefix = "model.";
  add_embedding_and_head(table, architecture, names().embedding, "lm_head.weight");
  TableBuilder builder(table, hidden);
  builder.norm(names().final_norm);
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string layer = fmt::format("model.layers.{}.", i), delta = layer + kDelta;
    for (const std::string& norm : attends(architecture, i) ? kBehind : kInFront)
      builder.norm(layer + norm);
    builder.mixer(layer, architecture.mixer<MlpShape>(i, 1), names());
    if (attends(architecture, i)) {
      builder.mixer(layer, architecture.mixer<AttentionShape>(i), names());
      // transformers 5 saves the norm behind attention under the linear layers' name.
      table.renamed.emplace_back(layer + kInFront[1] + ".weight", layer + kBehind[0] + ".weight");
      continue;
    }
    const auto& shape = architecture.mixer<GatedDeltaShape>(i);
    const std::int64_t heads = shape.value_heads;
    const std::vector<std::pair<const char*, std::int64_t>> projections = {
        {"q_proj", shape.keys()},   {"k_proj", shape.keys()}, {"v_proj", shape.values()},
        {"g_proj", shape.values()}, {"b_proj", heads},        {"a_proj", heads}};
    for (const auto& [name, rows] : projections) builder.matrix(delta + name, rows, hidden);
    builder.tensor(delta + "q_conv1d.weight", {shape.keys(), 1, shape.conv_kernel});
    builder.tensor(delta + "k_conv1d.weight", {shape.keys(), 1, shape.conv_kernel});
    builder.tensor(delta + "v_conv1d.weight", {shape.values(), 1, shape.conv_kernel});
    builder.delta(delta, shape, "o_norm", "o_proj");
  }
  return table;
}

NetworkParts olmo_hybrid_parts(const Architecture& architecture, Weights& weights) {
  BlockLoader loader(weights, architecture.norm_epsilon);
  NetworkParts parts{names().embedding, "lm_head.weight", "", loader.norm(names().final_norm)};
  Norm none;
  none.identity = true;
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string layer = fmt::format("model.layers.{}.", i), delta = layer + kDelta;
    const auto matrix = [&](const char* name) { return delta + name + ".weight"; };
    std::vector<NetworkBlock>& loaded = parts.layers.emplace_back();
    auto mlp = loader.mixer(layer, architecture.mixer<MlpShape>(i, 1), names());
    if (attends(architecture, i)) {
      loaded.push_back({none, loader.mixer(layer, architecture.mixer<AttentionShape>(i), names()),
                        loader.norm(layer + kBehind[0])});
      loaded.push_back({none, std::move(mlp), loader.norm(layer + kBehind[1])});
      continue;
    }
    const at::Tensor in = weights.stack({matrix("q_proj"), matrix("k_proj"), matrix("v_proj"),
                                         matrix("g_proj"), matrix("b_proj"), matrix("a_proj")});
    const at::Tensor taps =
        weights.stack({matrix("q_conv1d"), matrix("k_conv1d"), matrix("v_conv1d")});
    loaded.push_back({loader.norm(layer + kInFront[0]),
                      loader.delta(delta, architecture.mixer<GatedDeltaShape>(i), "o_norm",
                                   kDeltaEpsilon, "o_proj", in, taps)});
    loaded.push_back({loader.norm(layer + kInFront[1]), std::move(mlp)});
  }
  return parts;
}

}  // namespace factflow
