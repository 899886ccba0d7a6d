// Mamba-2 (Dao & Gu 2024), as transformers and mamba_ssm save it. Tokens are mixed in the quadratic
// form: prompts are far shorter than the state, so it costs less than the recurrence and needs no
// state at all (docs/replay.md).
#include "model/families/mamba2.hpp"

#include <algorithm>
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

constexpr int kMaxHeadsPerGroup = 1024;  // of the CPU kernel's scratch
// Of the convolution, so that no product of sizes overflows.
constexpr int kMostTaps = 1024;

class Mamba2 final : public Network {
 public:
  Mamba2(const Architecture& architecture, Weights& weights, const std::string& embedding,
         Norm final_norm, std::vector<Mamba2Layer> layers)
      : Network(architecture, weights, embedding, "lm_head.weight", "", std::move(final_norm)),
        layers_(std::move(layers)) {}

  void layer(Step& step) const override;
  std::vector<double> decay_norms(int layer) const override {
    return layers_[static_cast<size_t>(layer)].decay_norms;
  }
  std::int64_t bytes_per_column() const override;
  std::vector<LayerProduct> products(int layer) const override;

  std::vector<Site> sites() const override;
  void check_block(const Block& block) const override;
  at::Tensor reference_layer(ReferencePass& pass, int layer, const at::Tensor& h) const override {
    return reference::mamba2_layer(pass, layer, h, architecture_.mamba2(),
                                   layers_[static_cast<size_t>(layer)]);
  }

 private:
  std::vector<Mamba2Layer> layers_;
};

std::int64_t conv_channels(const Mamba2Shape& shape) {
  return shape.inner + 2 * static_cast<std::int64_t>(shape.groups) * shape.states;
}

std::int64_t projected(const Mamba2Shape& shape) {
  return 2 * static_cast<std::int64_t>(shape.mlp_size) + shape.inner + conv_channels(shape) +
         shape.heads;
}

void Mamba2::layer(Step& step) const {
  const Mamba2Shape& shape = architecture_.mamba2();
  const Mamba2Layer& layer = layers_[static_cast<size_t>(step.layer)];
  const std::int64_t mlp = shape.mlp_size, inner = shape.inner,
                     states = static_cast<std::int64_t>(shape.groups) * shape.states;
  const Factor normalised = step.factor("normalised", architecture_.hidden);
  const Factor mixed = step.factor("mixed", mlp + inner), gated = mixed.columns(mlp, inner);
  const at::Tensor all = step.matrix("projected", projected(shape)),
                   xbc = step.matrix("xbc", conv_channels(shape));
  apply_norm(step.rows, layer.norm, step.hidden, normalised);
  multiply(normalised, layer.in, layer.in_bias, all);
  const at::Tensor z = all.narrow(1, 2 * mlp, inner);
  const at::Tensor dt = all.narrow(1, 2 * mlp + inner + conv_channels(shape), shape.heads);
  convolve(step.rows, layer.convolution, all.narrow(1, 2 * mlp + inner, conv_channels(shape)),
           {xbc});
  const at::Tensor y = gated.numbers.defined() ? gated.numbers : step.matrix("y", inner);
  state_space_dual(step.rows, layer.dual, xbc.narrow(1, 0, inner), xbc.narrow(1, inner, states),
                   xbc.narrow(1, inner + states, states), dt, step.channel_masks, y);
  if (shape.gated_norm)
    apply_gated_norm(step.rows, layer.gated_norm, y, z, gated);
  else
    activate(step.rows, kernels::Activation::kSilu, z, y, gated);
  if (mlp > 0)
    activate(step.rows, kernels::Activation::kSilu, all.narrow(1, 0, mlp), all.narrow(1, mlp, mlp),
             mixed.columns(0, mlp));
  multiply_into(mixed, layer.out, layer.out_bias, step.hidden);
}

std::int64_t Mamba2::bytes_per_column() const {
  return mamba2_memory(architecture_, precision()).per_column;
}

std::vector<LayerProduct> Mamba2::products(int index) const {
  const Mamba2Layer& layer = layers_[static_cast<size_t>(index)];
  return {{&layer.in}, {&layer.out, LayerProduct::Into::kResidual}};
}

std::vector<Site> Mamba2::sites() const {
  std::vector<Site> sites = state_space_sites();
  sites.insert(std::find(sites.begin(), sites.end(), Site::kConv), Site::kXbc);
  return sites;
}

void Mamba2::check_block(const Block& block) const {
  const bool convolution = block.through == Block::Through::kConvolution;
  const auto* set = std::get_if<ChannelSet>(&block.selection);
  if (std::holds_alternative<Channels>(block.selection) && !convolution)
    throw std::invalid_argument(
        "mamba2: a list of channels goes through the convolution only; choose heads");
  const bool some = set == nullptr || set->kind != ChannelSet::Kind::kAll;
  if (some && block.parts && (block.parts->b || block.parts->c || !block.parts->x))
    throw std::invalid_argument(
        "mamba2: B and C have no heads or channels: with a selection of them parts is x alone");
}

void check(ConfigReader& config, const std::string& key, const Mamba2Shape& shape) {
  config.check_width(key, static_cast<std::int64_t>(shape.groups) * shape.states);
  if (shape.heads % shape.groups != 0)
    config.fail(key, fmt::format("expected a divisor of the {} heads, found {}", shape.heads,
                                 shape.groups));
  if (shape.heads / shape.groups > kMaxHeadsPerGroup)
    config.fail(key, fmt::format("at most {} heads per group are supported", kMaxHeadsPerGroup));
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

}  // namespace

LayerMemory mamba2_memory(const Architecture& architecture, Precision precision) {
  const Mamba2Shape& shape = architecture.mamba2();
  const std::int64_t activations =
      projected(shape) + conv_channels(shape) + (precision == Precision::kTf32x3 ? shape.inner : 0);
  const std::int64_t factors =
      static_cast<std::int64_t>(architecture.hidden) + shape.mlp_size + shape.inner;
  return {activations * activation_bytes(precision) + factors * factor_bytes(precision), 0};
}

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
  architecture.shape = shape;
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
  architecture.shape = shape;
  return architecture;
}

TensorTable mamba2_tensors(const Architecture& architecture) {
  const Mamba2Shape& shape = architecture.mamba2();
  const std::int64_t hidden = architecture.hidden, channels = conv_channels(shape);
  TensorTable table = state_space_table(architecture);
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string mixer = fmt::format("backbone.layers.{}.mixer.", i);
    table.entries.push_back({fmt::format("backbone.layers.{}.norm.weight", i), {hidden}});
    table.entries.push_back({mixer + "in_proj.weight", {projected(shape), hidden}});
    table.entries.push_back({mixer + "conv1d.weight", {channels, 1, shape.conv_kernel}});
    for (const char* name : {"A_log", "D", "dt_bias"})
      table.entries.push_back({mixer + name, {shape.heads}});
    if (shape.gated_norm) table.entries.push_back({mixer + "norm.weight", {shape.inner}});
    table.entries.push_back({mixer + "out_proj.weight", {hidden, shape.mlp_size + shape.inner}});
    if (shape.conv_bias) table.entries.push_back({mixer + "conv1d.bias", {channels}});
    if (shape.bias) table.entries.push_back({mixer + "in_proj.bias", {projected(shape)}});
    if (shape.bias) table.entries.push_back({mixer + "out_proj.bias", {hidden}});
  }
  return table;
}

std::unique_ptr<Network> build_mamba2(const Architecture& architecture, Weights& weights) {
  const Mamba2Shape& shape = architecture.mamba2();
  const auto optional = [&](const std::string& name) {
    return weights.has(name) ? weights.take(name) : at::Tensor();
  };
  const auto norm = [&](const std::string& name) {
    return Norm{weights.take(name), {}, architecture.norm_epsilon, false};
  };
  std::vector<Mamba2Layer> layers;
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string mixer = fmt::format("backbone.layers.{}.mixer.", i);
    Mamba2Layer layer;
    layer.norm = norm(fmt::format("backbone.layers.{}.norm.weight", i));
    layer.in = weights.projection(mixer + "in_proj.weight");
    layer.in_bias = weights.activation_bias(mixer + "in_proj.bias");
    layer.convolution = {causal_taps(weights.take(mixer + "conv1d.weight")),
                         optional(mixer + "conv1d.bias")};
    const at::Tensor a_log = weights.take(mixer + "A_log");
    layer.dual = {a_log.exp().neg(),
                  weights.take(mixer + "D"),
                  weights.take(mixer + "dt_bias"),
                  shape.dt_min,
                  shape.dt_max,
                  shape.heads,
                  shape.head_size,
                  shape.groups,
                  shape.states};
    layer.gated_norm = {optional(mixer + "norm.weight"), shape.norm_group,
                        architecture.norm_epsilon, shape.norm_before_gate};
    layer.out = weights.projection(mixer + "out_proj.weight");
    layer.out_bias = optional(mixer + "out_proj.bias");
    layer.decay_norms = decay_norms_of(a_log);
    layers.push_back(std::move(layer));
  }
  return std::make_unique<Mamba2>(architecture, weights, "backbone.embeddings.weight",
                                  norm("backbone.norm_f.weight"), std::move(layers));
}

}  // namespace factflow
