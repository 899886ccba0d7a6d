// Mamba-1 (Gu & Dao 2023) and Falcon-Mamba, which normalises dt, B and C, as transformers and
// mamba_ssm save them.
#include "model/mixers/mamba/mamba.hpp"

#include <fmt/format.h>

#include "model/families/declarations.hpp"
#include "model/families/state_space.hpp"
#include "model/limits.hpp"
#include "model/mixers/state_space.hpp"
#include "model/network.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

int read_rank(ConfigReader& config, const std::string& key, int hidden) {
  if (!config.has(key) || config.raw(key) == "auto") return (hidden + 15) / 16;
  return config.integer(key);
}

// mamba_ssm's keys, which conversions kept beside those of transformers and nothing reads.
void check_old_spelling(ConfigReader& config, const Architecture& architecture,
                        const MambaShape& shape) {
  config.expect("d_model", architecture.hidden);
  config.expect("n_layer", architecture.layers);
  config.expect("d_inner", shape.inner);
  config.expect("rms_norm", true);
  config.expect_or_null("ssm_cfg", nlohmann::json::object());
}

void add_layers(Architecture& architecture, const MambaShape& shape) {
  architecture.blocks.assign(static_cast<size_t>(architecture.layers),
                             {{std::make_shared<MambaShape>(shape)}});
}

struct Read {
  Architecture architecture;  // but its blocks
  MambaShape shape;
};

Read read_transformers_mamba(ConfigReader& config) {
  Architecture architecture;
  architecture.hidden = config.size("hidden_size", 768);
  architecture.layers = config.layer_count("num_hidden_layers", 32);
  architecture.vocabulary = config.size("vocab_size", 50280);
  architecture.norm_epsilon = config.number("layer_norm_epsilon", 1e-5);
  architecture.tied_head = config.flag("tie_word_embeddings", true);
  MambaShape shape;
  shape.inner =
      config.integer("intermediate_size", config.expanded("expand", 2.0, architecture.hidden));
  shape.states = config.size("state_size", 16);
  shape.conv_kernel = config.size("conv_kernel", 4);
  shape.time_step_rank = read_rank(config, "time_step_rank", architecture.hidden);
  shape.bias = config.flag("use_bias", false);
  shape.conv_bias = config.flag("use_conv_bias", true);
  config.expect("hidden_act", "silu");
  // Initialisation, choices between equivalent kernels, and the mamba_ssm keys that some
  // conversions kept.
  config.ignore_unless_null({"rescale_prenorm_residual", "residual_in_fp32", "time_step_floor",
                             "time_step_init_scheme", "time_step_max", "time_step_min",
                             "time_step_scale", "use_associative_scan", "use_mambapy",
                             "use_falcon_mambapy", "layer_types"});
  config.ignore({"fused_add_norm", "pad_vocab_size_multiple", "max_position_embeddings"});
  check_old_spelling(config, architecture, shape);
  config.expect_layers("layer_types", architecture.layers, {"linear_attention", "mamba"});
  if (shape.states > kMostStates)
    config.fail("state_size", fmt::format("at most {} states per channel are supported, found {}",
                                          kMostStates, shape.states));
  return {architecture, shape};
}

}  // namespace

Architecture read_mamba(ConfigReader& config) {
  auto [architecture, shape] = read_transformers_mamba(config);
  add_layers(architecture, shape);
  return architecture;
}

Architecture read_falcon_mamba(ConfigReader& config) {
  auto [architecture, shape] = read_transformers_mamba(config);
  shape.normalise_parameters = true;
  shape.parameter_epsilon = config.number("mixer_rms_eps", 1e-6);
  add_layers(architecture, shape);
  return architecture;
}

Architecture read_mamba_ssm_1(ConfigReader& ssm, Architecture architecture) {
  MambaShape shape;
  shape.inner = ssm.expanded("expand", 2.0, architecture.hidden);
  shape.states = ssm.integer("d_state", 16);
  shape.conv_kernel = ssm.integer("d_conv", 4);
  shape.time_step_rank = read_rank(ssm, "dt_rank", architecture.hidden);
  shape.bias = ssm.flag("bias", false);
  shape.conv_bias = ssm.flag("conv_bias", true);
  ssm.ignore({"dt_min", "dt_max", "dt_init", "dt_scale", "dt_init_floor", "use_fast_path"});
  if (shape.states > kMostStates)
    ssm.fail("d_state",
             fmt::format("at most {} are supported, found {}", kMostStates, shape.states));
  architecture.family = "mamba";
  add_layers(architecture, shape);
  return architecture;
}

TensorTable mamba_tensors(const Architecture& architecture) {
  const std::int64_t hidden = architecture.hidden;
  TensorTable table = state_space_table(architecture);
  for (int i = 0; i < architecture.layers; ++i) {
    const auto& shape = architecture.mixer<MambaShape>(i);
    const std::int64_t inner = shape.inner;
    const std::string mixer = fmt::format("backbone.layers.{}.mixer.", i);
    table.entries.push_back({fmt::format("backbone.layers.{}.norm.weight", i), {hidden}});
    table.entries.push_back({mixer + "in_proj.weight", {2 * inner, hidden}});
    table.entries.push_back({mixer + "conv1d.weight", {inner, 1, shape.conv_kernel}});
    table.entries.push_back(
        {mixer + "x_proj.weight", {shape.time_step_rank + 2 * shape.states, inner}});
    table.entries.push_back({mixer + "dt_proj.weight", {inner, shape.time_step_rank}});
    table.entries.push_back({mixer + "dt_proj.bias", {inner}});
    table.entries.push_back({mixer + "A_log", {inner, shape.states}});
    table.entries.push_back({mixer + "D", {inner}});
    table.entries.push_back({mixer + "out_proj.weight", {hidden, inner}});
    if (shape.conv_bias) table.entries.push_back({mixer + "conv1d.bias", {inner}});
    if (shape.bias) table.entries.push_back({mixer + "in_proj.bias", {2 * inner}});
    if (shape.bias) table.entries.push_back({mixer + "out_proj.bias", {hidden}});
  }
  return table;
}

NetworkParts mamba_parts(const Architecture& architecture, Weights& weights) {
  const auto norm = [&](const std::string& name) {
    return Norm{weights.take(name), {}, architecture.norm_epsilon, false};
  };
  NetworkParts parts{"backbone.embeddings.weight", "lm_head.weight", "",
                     norm("backbone.norm_f.weight")};
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string mixer = fmt::format("backbone.layers.{}.mixer.", i);
    const at::Tensor a_log = weights.take(mixer + "A_log");
    MambaWeights one;
    one.in = weights.projection(mixer + "in_proj.weight");
    one.in_bias = weights.activation_bias(mixer + "in_proj.bias");
    one.convolution = {causal_taps(weights.take(mixer + "conv1d.weight")),
                       weights.optional(mixer + "conv1d.bias")};
    one.parameters = weights.projection(mixer + "x_proj.weight");
    one.time_step = weights.projection(mixer + "dt_proj.weight");
    one.scan = {a_log.exp().neg().t().contiguous(), weights.take(mixer + "D"),
                weights.take(mixer + "dt_proj.bias")};
    one.output = {weights.projection(mixer + "out_proj.weight"),
                  weights.optional(mixer + "out_proj.bias")};
    one.decay_norms = decay_norms_of(a_log);
    parts.layers.emplace_back().push_back(
        {norm(fmt::format("backbone.layers.{}.norm.weight", i)),
         std::make_unique<MambaMixer>(architecture.mixer<MambaShape>(i), std::move(one))});
  }
  return parts;
}

}  // namespace factflow
