// Mamba-2 (Dao & Gu 2024), as transformers and mamba_ssm save it.
#include "model/mixers/mamba2/mamba2.hpp"

#include <fmt/format.h>

#include "model/families/declarations.hpp"
#include "model/families/state_space.hpp"
#include "model/limits.hpp"
#include "model/mixers/state_space.hpp"
#include "model/network.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

void check(ConfigReader& config, const std::string& key, const Mamba2Shape& shape) {
  config.check_width(key, static_cast<std::int64_t>(shape.groups) * shape.states);
  if (shape.heads % shape.groups != 0)
    config.fail(key, fmt::format("expected a divisor of the {} heads, found {}", shape.heads,
                                 shape.groups));
  if (shape.heads / shape.groups > kMostHeadsPerGroup)
    config.fail(key, fmt::format("at most {} heads per group are supported", kMostHeadsPerGroup));
  if (!(shape.dt_min <= shape.dt_max))
    config.fail(key, "the lower limit of dt is above the upper one");
}

void read_limits(ConfigReader& config, const std::string& key, Mamba2Shape& shape) {
  if (!config.has(key)) return;
  const nlohmann::json& limits = config.raw(key);
  if (!limits.is_array() || limits.size() != 2 || !limits[0].is_number() || !limits[1].is_number())
    config.fail(key, fmt::format("expected two numbers, found {}", limits.dump()));
  shape.dt_min = limits[0].get<double>();
  shape.dt_max = limits[1].get<double>();
}

void add_layers(Architecture& architecture, const Mamba2Shape& shape) {
  architecture.blocks.assign(static_cast<size_t>(architecture.layers),
                             {{std::make_shared<Mamba2Shape>(shape)}});
}

}  // namespace

Architecture read_mamba2(ConfigReader& config) {
  Architecture architecture;
  architecture.hidden = config.size("hidden_size", 4096);
  architecture.layers = config.layer_count("num_hidden_layers", 64);
  architecture.vocabulary = config.size("vocab_size", 32768);
  architecture.norm_epsilon = config.number("layer_norm_epsilon", 1e-5);
  architecture.tied_head = config.flag("tie_word_embeddings", false);
  Mamba2Shape shape;
  shape.heads = config.size("num_heads", 128);
  shape.head_size = config.size("head_dim", 64);
  shape.inner = config.expanded("expand", 2.0, architecture.hidden);
  if (static_cast<std::int64_t>(shape.heads) * shape.head_size != shape.inner)
    config.fail("num_heads",
                fmt::format("num_heads * head_dim = {} must equal expand * hidden_size = {}",
                            static_cast<std::int64_t>(shape.heads) * shape.head_size, shape.inner));
  shape.groups = config.size("n_groups", 8);
  shape.states = config.size("state_size", 128);
  shape.conv_kernel = config.integer("conv_kernel", 4, 1, kMostTaps);
  shape.bias = config.flag("use_bias", false);
  shape.conv_bias = config.flag("use_conv_bias", true);
  read_limits(config, "time_step_limit", shape);
  config.expect("hidden_act", "silu");
  config.expect("rms_norm", true);
  config.expect_layers("layer_types", architecture.layers, {"linear_attention", "mamba2"});
  // norm_before_gate: Mamba-Codestral's file says true, but transformers does not read it and gates
  // first.
  config.ignore({"time_step_init_scheme", "time_step_scale", "use_associative_scan",
                 "A_initializer_range", "max_position_embeddings", "norm_before_gate"});
  config.ignore_unless_null({"chunk_size", "rescale_prenorm_residual", "residual_in_fp32",
                             "time_step_floor", "time_step_max", "time_step_min", "time_step_rank",
                             "layer_types"});
  config.expect_or_null("intermediate_size", shape.inner);
  check(config, "n_groups", shape);
  shape.norm_group = shape.inner / shape.groups;  // as in mamba_ssm; transformers since 5.24
  add_layers(architecture, shape);
  return architecture;
}

Architecture read_mamba_ssm_2(ConfigReader& ssm, Architecture architecture) {
  Mamba2Shape shape;
  const int expanded = ssm.expanded("expand", 2.0, architecture.hidden);
  shape.inner = ssm.is_null("d_ssm") ? expanded : ssm.integer("d_ssm", expanded);
  shape.mlp_size = expanded - shape.inner;
  if (shape.mlp_size < 0)
    ssm.fail("d_ssm", fmt::format("expected at most expand * d_model = {}", expanded));
  shape.head_size = ssm.integer("headdim", 64);
  if (shape.inner % shape.head_size != 0)
    ssm.fail("headdim", fmt::format("expected a divisor of {}", shape.inner));
  shape.heads = shape.inner / shape.head_size;
  shape.groups = ssm.integer("ngroups", 1);
  shape.states = ssm.integer("d_state", 128);
  shape.conv_kernel = ssm.integer("d_conv", 4, 1, kMostTaps);
  shape.bias = ssm.flag("bias", false);
  shape.conv_bias = ssm.flag("conv_bias", true);
  shape.gated_norm = ssm.flag("rmsnorm", true);
  shape.norm_before_gate = ssm.flag("norm_before_gate", false);
  read_limits(ssm, "dt_limit", shape);
  ssm.expect("D_has_hdim", false);
  ssm.ignore({"conv_init", "A_init_range", "dt_min", "dt_max", "dt_init_floor", "chunk_size",
              "use_mem_eff_path"});
  check(ssm, "ngroups", shape);
  shape.norm_group = shape.inner / shape.groups;  // mamba_ssm normalises each group on its own
  architecture.family = "mamba2";
  add_layers(architecture, shape);
  return architecture;
}

TensorTable mamba2_tensors(const Architecture& architecture) {
  const std::int64_t hidden = architecture.hidden;
  TensorTable table = state_space_table(architecture);
  for (int i = 0; i < architecture.layers; ++i) {
    const auto& shape = architecture.mixer<Mamba2Shape>(i);
    const std::int64_t channels = shape.conv_channels();
    const std::string mixer = fmt::format("backbone.layers.{}.mixer.", i);
    table.entries.push_back({fmt::format("backbone.layers.{}.norm.weight", i), {hidden}});
    table.entries.push_back({mixer + "in_proj.weight", {shape.projected(), hidden}});
    table.entries.push_back({mixer + "conv1d.weight", {channels, 1, shape.conv_kernel}});
    for (const char* name : {"A_log", "D", "dt_bias"})
      table.entries.push_back({mixer + name, {shape.heads}});
    if (shape.gated_norm) table.entries.push_back({mixer + "norm.weight", {shape.inner}});
    table.entries.push_back({mixer + "out_proj.weight", {hidden, shape.mlp_size + shape.inner}});
    if (shape.conv_bias) table.entries.push_back({mixer + "conv1d.bias", {channels}});
    if (shape.bias) table.entries.push_back({mixer + "in_proj.bias", {shape.projected()}});
    if (shape.bias) table.entries.push_back({mixer + "out_proj.bias", {hidden}});
  }
  return table;
}

NetworkParts mamba2_parts(const Architecture& architecture, Weights& weights) {
  const auto norm = [&](const std::string& name) {
    return Norm{weights.take(name), {}, architecture.norm_epsilon, false};
  };
  NetworkParts parts{"backbone.embeddings.weight", "lm_head.weight", "",
                     norm("backbone.norm_f.weight")};
  for (int i = 0; i < architecture.layers; ++i) {
    const auto& shape = architecture.mixer<Mamba2Shape>(i);
    const std::string mixer = fmt::format("backbone.layers.{}.mixer.", i);
    const at::Tensor a_log = weights.take(mixer + "A_log");
    Mamba2Weights one;
    one.in = weights.projection(mixer + "in_proj.weight");
    one.in_bias = weights.activation_bias(mixer + "in_proj.bias");
    one.convolution = {causal_taps(weights.take(mixer + "conv1d.weight")),
                       weights.optional(mixer + "conv1d.bias")};
    one.dual = {a_log.exp().neg(),
                weights.take(mixer + "D"),
                weights.take(mixer + "dt_bias"),
                shape.dt_min,
                shape.dt_max,
                shape.heads,
                shape.head_size,
                shape.groups,
                shape.states};
    one.gated_norm = {weights.optional(mixer + "norm.weight"), shape.norm_group,
                      architecture.norm_epsilon, shape.norm_before_gate};
    one.output = {weights.projection(mixer + "out_proj.weight"),
                  weights.optional(mixer + "out_proj.bias")};
    one.decay_norms = decay_norms_of(a_log);
    parts.layers.emplace_back().push_back({norm(fmt::format("backbone.layers.{}.norm.weight", i)),
                                           std::make_unique<Mamba2Mixer>(shape, std::move(one))});
  }
  return parts;
}

}  // namespace factflow
