// Mamba-1 (Gu & Dao 2023) and Falcon-Mamba, which normalises dt, B and C, as transformers and
// mamba_ssm save them.
#include "model/families/mamba.hpp"

#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

#include "model/families/declarations.hpp"
#include "model/families/family.hpp"
#include "model/families/state_space.hpp"
#include "model/network.hpp"
#include "model/reference/reference_layers.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

constexpr int kMaxStates = 256;  // of the CPU kernel's scratch

class Mamba final : public Network {
 public:
  Mamba(const Architecture& architecture, Weights& weights, const std::string& embedding,
        Norm final_norm, std::vector<MambaLayer> layers)
      : Network(architecture, weights, embedding, "lm_head.weight", "", std::move(final_norm)),
        layers_(std::move(layers)) {}

  void layer(Step& step) const override;
  std::vector<double> decay_norms(int layer) const override {
    return layers_[static_cast<size_t>(layer)].decay_norms;
  }
  std::int64_t bytes_per_column() const override;
  std::int64_t bytes_per_state() const override;
  std::vector<LayerProduct> products(int layer) const override;

  std::vector<Site> sites() const override { return state_space_sites(); }
  void check_block(const Block& block) const override;
  at::Tensor reference_layer(ReferencePass& pass, int layer, const at::Tensor& h) const override {
    return reference::mamba_layer(pass, layer, h, architecture_.mamba(),
                                  layers_[static_cast<size_t>(layer)]);
  }

 private:
  struct TokenParameters {
    Factor low_rank;  // of dt, [columns, rank]
    at::Tensor b, c;  // [columns, states]
  };
  TokenParameters token_parameters(Step& step, const MambaLayer& layer, const Factor& x) const;

  std::vector<MambaLayer> layers_;
};

void Mamba::layer(Step& step) const {
  const MambaShape& shape = architecture_.mamba();
  const MambaLayer& layer = layers_[static_cast<size_t>(step.layer)];
  const Factor normalised = step.factor("normalised", architecture_.hidden);
  const Factor x = step.factor("x", shape.inner, /*with_numbers=*/true);
  const Factor mixed = step.factor("mixed", shape.inner);
  const at::Tensor xz = step.matrix("xz", 2 * shape.inner), dt = step.matrix("dt", shape.inner);
  apply_norm(step.rows, layer.norm, step.hidden, normalised);
  multiply(normalised, layer.in, layer.in_bias, xz);
  const at::Tensor z = xz.narrow(1, shape.inner, shape.inner);
  convolve(step.rows, layer.convolution, xz.narrow(1, 0, shape.inner), x);
  const TokenParameters parameters = token_parameters(step, layer, x);
  multiply(parameters.low_rank, layer.time_step, {}, dt);
  const std::int64_t slots = states_stored(device(), step.rows.suffixes) ? step.rows.slot_count : 0;
  const at::Tensor states = step.workspace.wide_matrix(
      "states", slots, static_cast<std::int64_t>(shape.states) * shape.inner);
  const at::Tensor scratch =
      step.workspace.matrix("scan", 1,
                            scan_scratch_bytes(device(), step.rows.part_count,
                                               step.rows.replay_count, step.rows.part_tokens),
                            at::kByte);
  selective_scan(step.rows, layer.scan, x.numbers, z, dt, parameters.b, parameters.c,
                 step.channel_masks, states, scratch, mixed);
  multiply_into(mixed, layer.out, layer.out_bias, step.hidden);
}

Mamba::TokenParameters Mamba::token_parameters(Step& step, const MambaLayer& layer,
                                               const Factor& x) const {
  const MambaShape& shape = architecture_.mamba();
  const std::int64_t rank = shape.time_step_rank, states = shape.states;
  if (!shape.normalise_parameters) {
    const at::Tensor all = step.matrix("parameters", rank + 2 * states);
    multiply(x, layer.parameters, {}, all);
    return {factor_of(step.rows, step.workspace, all.narrow(1, 0, rank)),
            all.narrow(1, rank, states), all.narrow(1, rank + states, states)};
  }
  const at::Tensor all = step.wide_matrix("parameters", rank + 2 * states);
  multiply(x, layer.parameters, {}, all);
  const TokenParameters normalised{step.factor("low rank", rank), step.matrix("b", states),
                                   step.matrix("c", states)};
  const Norm norm{{}, {}, shape.parameter_epsilon, false};
  apply_norm(step.rows, norm, all.narrow(1, 0, rank), normalised.low_rank);
  apply_norm(step.rows, norm, all.narrow(1, rank, states), {normalised.b});
  apply_norm(step.rows, norm, all.narrow(1, rank + states, states), {normalised.c});
  return normalised;
}

std::int64_t Mamba::bytes_per_column() const {
  return mamba_memory(architecture_, precision()).per_column;
}

std::int64_t Mamba::bytes_per_state() const {
  return mamba_memory(architecture_, precision()).per_state;
}

std::vector<LayerProduct> Mamba::products(int index) const {
  const MambaLayer& layer = layers_[static_cast<size_t>(index)];
  using Into = LayerProduct::Into;
  const Into parameters =
      architecture_.mamba().normalise_parameters ? Into::kWide : Into::kActivations;
  return {{&layer.in},
          {&layer.parameters, parameters},
          {&layer.time_step},
          {&layer.out, Into::kResidual}};
}

void Mamba::check_block(const Block& block) const {
  if (std::holds_alternative<Heads>(block.selection) || block.parts)
    throw std::invalid_argument(architecture_.family + " has channels, not heads or parts");
}

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

Architecture read_transformers_mamba(ConfigReader& config) {
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
  if (shape.states > kMaxStates)
    config.fail("state_size", fmt::format("at most {} states per channel are supported, found {}",
                                          kMaxStates, shape.states));
  architecture.shape = shape;
  return architecture;
}

}  // namespace

LayerMemory mamba_memory(const Architecture& architecture, Precision precision) {
  const MambaShape& shape = architecture.mamba();
  const auto number = static_cast<std::int64_t>(c10::elementSize(wide_type(precision)));
  const std::int64_t wide = shape.time_step_rank + 2 * static_cast<std::int64_t>(shape.states);
  const std::int64_t activations =
      4 * static_cast<std::int64_t>(shape.inner) + wide;  // x, z, x after the convolution, dt
  const std::int64_t factors =
      architecture.hidden + 2 * static_cast<std::int64_t>(shape.inner) + shape.time_step_rank;
  return {
      activations * activation_bytes(precision) + factors * factor_bytes(precision) + wide * number,
      static_cast<std::int64_t>(shape.states) * shape.inner * number};
}

Architecture read_mamba(ConfigReader& config) {
  return read_transformers_mamba(config);
}

Architecture read_falcon_mamba(ConfigReader& config) {
  Architecture architecture = read_transformers_mamba(config);
  auto& shape = std::get<MambaShape>(architecture.shape);
  shape.normalise_parameters = true;
  shape.parameter_epsilon = config.number("mixer_rms_eps", 1e-6);
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
  if (shape.states > kMaxStates)
    ssm.fail("d_state",
             fmt::format("at most {} are supported, found {}", kMaxStates, shape.states));
  architecture.family = "mamba";
  architecture.shape = shape;
  return architecture;
}

TensorTable mamba_tensors(const Architecture& architecture) {
  const MambaShape& shape = architecture.mamba();
  const std::int64_t hidden = architecture.hidden, inner = shape.inner;
  TensorTable table = state_space_table(architecture);
  for (int i = 0; i < architecture.layers; ++i) {
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

std::unique_ptr<Network> build_mamba(const Architecture& architecture, Weights& weights) {
  const auto optional = [&](const std::string& name) {
    return weights.has(name) ? weights.take(name) : at::Tensor();
  };
  const auto norm = [&](const std::string& name) {
    return Norm{weights.take(name), {}, architecture.norm_epsilon, false};
  };
  std::vector<MambaLayer> layers;
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string mixer = fmt::format("backbone.layers.{}.mixer.", i);
    MambaLayer layer;
    layer.norm = norm(fmt::format("backbone.layers.{}.norm.weight", i));
    layer.in = weights.projection(mixer + "in_proj.weight");
    layer.in_bias = weights.activation_bias(mixer + "in_proj.bias");
    layer.convolution = {causal_taps(weights.take(mixer + "conv1d.weight")),
                         optional(mixer + "conv1d.bias")};
    layer.parameters = weights.projection(mixer + "x_proj.weight");
    layer.time_step = weights.projection(mixer + "dt_proj.weight");
    const at::Tensor a_log = weights.take(mixer + "A_log");
    layer.scan = {a_log.exp().neg().t().contiguous(), weights.take(mixer + "D"),
                  weights.take(mixer + "dt_proj.bias")};
    layer.out = weights.projection(mixer + "out_proj.weight");
    layer.out_bias = optional(mixer + "out_proj.bias");
    layer.decay_norms = decay_norms_of(a_log);
    layers.push_back(std::move(layer));
  }
  return std::make_unique<Mamba>(architecture, weights, "backbone.embeddings.weight",
                                 norm("backbone.norm_f.weight"), std::move(layers));
}

}  // namespace factflow
