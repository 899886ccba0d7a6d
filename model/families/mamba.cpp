// Mamba-1 (Gu & Dao 2023) and Falcon-Mamba, which normalises dt, B and C, as transformers and
// mamba_ssm save them.
#include "model/mixers/mamba/mamba.hpp"

#include <fmt/format.h>

#include "model/families/building_blocks.hpp"
#include "model/families/declarations.hpp"
#include "model/families/state_space.hpp"
#include "model/limits.hpp"
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
  TensorTable table = state_space_table(architecture);
  TableBuilder builder(table, architecture.hidden);
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string layer = fmt::format("backbone.layers.{}.", i);
    builder.norm(layer + "norm");
    builder.mamba(layer + "mixer.", architecture.mixer<MambaShape>(i));
  }
  return table;
}

NetworkParts mamba_parts(const Architecture& architecture, Weights& weights) {
  BlockLoader loader(weights, architecture.norm_epsilon);
  NetworkParts parts{"backbone.embeddings.weight", "lm_head.weight", "",
                     loader.norm("backbone.norm_f")};
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string layer = fmt::format("backbone.layers.{}.", i);
    parts.layers.emplace_back().push_back(
        {loader.norm(layer + "norm"),
         loader.mamba(layer + "mixer.", architecture.mixer<MambaShape>(i))});
  }
  return parts;
}

}  // namespace factflow
