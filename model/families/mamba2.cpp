// Mamba-2 (Dao & Gu 2024), as transformers and mamba_ssm save it.
#include "model/mixers/mamba2/mamba2.hpp"

#include <fmt/format.h>

#include "model/families/building_blocks.hpp"
#include "model/families/declarations.hpp"
#include "model/families/hybrid.hpp"
#include "model/families/state_space.hpp"
#include "model/limits.hpp"
#include "model/network.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

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
  shape.bias = shape.output_bias = config.flag("use_bias", false);
  shape.conv_bias = config.flag("use_conv_bias", true);
  config.ignore_unless_null({"time_step_limit"});
  read_time_step_limit(config, "time_step_limit", shape);
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
  check_mamba2(config, "n_groups", shape);
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
  shape.bias = shape.output_bias = ssm.flag("bias", false);
  shape.conv_bias = ssm.flag("conv_bias", true);
  shape.gated_norm = ssm.flag("rmsnorm", true);
  shape.norm_before_gate = ssm.flag("norm_before_gate", false);
  ssm.ignore_unless_null({"dt_limit"});
  read_time_step_limit(ssm, "dt_limit", shape);
  ssm.expect("D_has_hdim", false);
  ssm.ignore({"conv_init", "A_init_range", "dt_min", "dt_max", "dt_init_floor", "chunk_size",
              "use_mem_eff_path"});
  check_mamba2(ssm, "ngroups", shape);
  shape.norm_group = shape.inner / shape.groups;  // mamba_ssm normalises each group on its own
  architecture.family = "mamba2";
  add_layers(architecture, shape);
  return architecture;
}

TensorTable mamba2_tensors(const Architecture& architecture) {
  TensorTable table = state_space_table(architecture);
  TableBuilder builder(table, architecture.hidden);
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string layer = fmt::format("backbone.layers.{}.", i);
    builder.norm(layer + "norm");
    builder.mamba2(layer + "mixer.", architecture.mixer<Mamba2Shape>(i));
  }
  return table;
}

NetworkParts mamba2_parts(const Architecture& architecture, Weights& weights) {
  const double epsilon = architecture.norm_epsilon;
  BlockLoader loader(weights, epsilon);
  NetworkParts parts{"backbone.embeddings.weight", "lm_head.weight", "",
                     loader.norm("backbone.norm_f")};
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string layer = fmt::format("backbone.layers.{}.", i);
    parts.layers.emplace_back().push_back(
        {loader.norm(layer + "norm"),
         loader.mamba2(layer + "mixer.", architecture.mixer<Mamba2Shape>(i), epsilon)});
  }
  return parts;
}

}  // namespace factflow
