#include "model/families/building_blocks.hpp"

#include <utility>

#include <fmt/format.h>

#include "model/mixers/state_space.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

// Names of the weights of Jamba's norms.
constexpr const char* kParameterNorms[] = {"dt_layernorm", "b_layernorm", "c_layernorm"};

std::string expert_prefix(const std::string& prefix, const MixtureNames& names, int expert) {
  return fmt::format("{}{}{}.", prefix, names.experts, expert);
}

// Rows of a matrix, or numbers of its bias, times a factor for each group of them.
at::Tensor scaled_rows(const at::Tensor& rows,
                       const std::vector<std::pair<std::int64_t, double>>& groups) {
  std::vector<at::Tensor> scaled;
  std::int64_t begin = 0;
  for (const auto& [count, factor] : groups) {
    scaled.push_back(rows.narrow(0, begin, count) * factor);
    begin += count;
  }
  return at::cat(scaled);
}

// Rows of q_proj, of each head queries and gate, above those of k and v, as queries, keys, values,
// gate.
at::Tensor with_gate_last(const at::Tensor& rows, const AttentionShape& shape) {
  const std::int64_t queries = shape.queries(), size = shape.head_size;
  const at::Tensor heads = rows.narrow(0, 0, 2 * queries).unflatten(0, {shape.heads, 2 * size});
  const auto part = [&](std::int64_t begin) { return heads.narrow(1, begin, size).flatten(0, 1); };
  return at::cat({part(0), rows.narrow(0, 2 * queries, 2 * shape.keys()), part(size)});
}

}  // namespace

void TableBuilder::matrix(const std::string& name, std::int64_t out, std::int64_t in, bool bias) {
  tensor(name + ".weight", {out, in});
  if (bias) tensor(name + ".bias", {out});
}

void TableBuilder::attention(const std::string& prefix, const AttentionShape& shape,
                             const AttentionNames& names, std::int64_t inputs) {
  const std::int64_t in = inputs == 0 ? hidden_ : inputs;
  // With a gate: of each head its queries, then its gate.
  matrix(prefix + names.query, shape.queries() * (shape.gated ? 2 : 1), in,
         shape.query_key_value_bias);
  matrix(prefix + names.key, shape.keys(), in, shape.query_key_value_bias);
  matrix(prefix + names.value, shape.keys(), in, shape.query_key_value_bias);
  matrix(prefix + names.output, hidden_, shape.queries(), shape.output_bias);
  head_norms(prefix, shape, names);
}

void TableBuilder::head_norms(const std::string& prefix, const AttentionShape& shape,
                              const AttentionNames& names) {
  using HeadNorms = AttentionShape::HeadNorms;
  if (shape.head_norms == HeadNorms::kNone) return;
  const bool each = shape.head_norms == HeadNorms::kEachHead;
  tensor(prefix + names.query_norm + ".weight", {each ? shape.head_size : shape.queries()});
  tensor(prefix + names.key_norm + ".weight", {each ? shape.head_size : shape.keys()});
}

void TableBuilder::mlp(const std::string& prefix, const MlpShape& shape, const MlpNames& names) {
  if (shape.gated) matrix(prefix + names.gate, shape.inner, hidden_, shape.bias);
  matrix(prefix + names.up, shape.inner, hidden_, shape.bias);
  matrix(prefix + names.down, hidden_, shape.inner, shape.bias);
}

void TableBuilder::mamba(const std::string& prefix, const MambaShape& shape) {
  const std::int64_t inner = shape.inner, rank = shape.time_step_rank, states = shape.states;
  matrix(prefix + "in_proj", 2 * inner, hidden_, shape.bias);
  tensor(prefix + "conv1d.weight", {inner, 1, shape.conv_kernel});
  if (shape.conv_bias) tensor(prefix + "conv1d.bias", {inner});
  tensor(prefix + "x_proj.weight", {rank + 2 * states, inner});
  matrix(prefix + "dt_proj", inner, rank, true);
  tensor(prefix + "A_log", {inner, states});
  tensor(prefix + "D", {inner});
  matrix(prefix + "out_proj", hidden_, inner, shape.bias);
  if (!shape.parameter_weights) return;
  tensor(prefix + kParameterNorms[0] + ".weight", {rank});
  for (const char* name : {kParameterNorms[1], kParameterNorms[2]})
    tensor(prefix + name + ".weight", {states});
}

void TableBuilder::mamba2(const std::string& prefix, const Mamba2Shape& shape) {
  const std::int64_t channels = shape.conv_channels();
  matrix(prefix + "in_proj", shape.projected(), hidden_, shape.bias);
  tensor(prefix + "conv1d.weight", {channels, 1, shape.conv_kernel});
  if (shape.conv_bias) tensor(prefix + "conv1d.bias", {channels});
  for (const char* name : {"A_log", "D", "dt_bias"}) tensor(prefix + name, {shape.heads});
  if (shape.gated_norm) tensor(prefix + "norm.weight", {shape.inner});
  matrix(prefix + "out_proj", hidden_, shape.mlp_size + shape.inner, shape.output_bias);
}

void TableBuilder::mixture(const std::string& prefix, const MixtureShape& shape,
                           const MixtureNames& names) {
  const std::int64_t width = shape.latent == 0 ? hidden_ : shape.latent;
  const auto add = [&](const std::string& of, std::int64_t inner, std::int64_t in) {
    if (shape.gated) matrix(of + names.matrices.gate, inner, in);
    matrix(of + names.matrices.up, inner, in);
    matrix(of + names.matrices.down, in, inner);
  };
  matrix(prefix + names.router, shape.routing.experts, hidden_);
  if (shape.routing.weights == Routing::Weights::kScores)
    tensor(prefix + names.choice, {shape.routing.experts});
  for (int e = 0; e < shape.routing.experts; ++e)
    add(expert_prefix(prefix, names, e), shape.inner, width);
  if (shape.shared_inner > 0) add(prefix + names.shared, shape.shared_inner, hidden_);
  if (shape.shared_gate) matrix(prefix + names.shared_gate, 1, hidden_);
  if (shape.latent == 0) return;
  matrix(prefix + "fc1_latent_proj", shape.latent, hidden_);
  matrix(prefix + "fc2_latent_proj", hidden_, shape.latent);
}

void TableBuilder::delta(const std::string& prefix, const GatedDeltaShape& shape,
                         const std::string& norm, const std::string& output) {
  for (const char* name : {"A_log", "dt_bias"}) tensor(prefix + name, {shape.value_heads});
  tensor(prefix + norm + ".weight", {shape.value_size});
  matrix(prefix + output, hidden_, shape.values());
}

void TableBuilder::mixer(const std::string& layer, const MixerShape& shape,
                         const LayerNames& names) {
  if (const auto* one = dynamic_cast<const AttentionShape*>(&shape))
    return attention(layer + names.attention, *one, names.matrices);
  if (const auto* one = dynamic_cast<const MambaShape*>(&shape))
    return mamba(layer + names.recurrent, *one);
  if (const auto* one = dynamic_cast<const Mamba2Shape*>(&shape))
    return mamba2(layer + names.recurrent, *one);
  if (const auto* one = dynamic_cast<const MixtureShape*>(&shape))
    return mixture(layer + names.mlp, *one, names.mixture);
  mlp(layer + names.mlp, dynamic_cast<const MlpShape&>(shape), names.mlp_matrices);
}

Norm BlockLoader::norm(const std::string& name) {
  const at::Tensor weight = weights_.take(name + ".weight");
  return {one_plus_ ? weight + 1 : weight, {}, epsilon_, false};
}

OutputProjection BlockLoader::output(const std::string& name) {
  return {weights_.projection(name + ".weight"), weights_.optional(name + ".bias")};
}

std::unique_ptr<Mixer> BlockLoader::attention(const std::string& prefix,
                                              const AttentionShape& shape,
                                              const AttentionNames& names) {
  const std::string q = prefix + names.query, k = prefix + names.key, v = prefix + names.value;
  const std::vector<std::pair<std::int64_t, double>> parts = {
      {shape.queries(), shape.input_factor},
      {shape.keys(), shape.input_factor * shape.key_factor},
      {shape.keys(), shape.input_factor}};
  const bool plain = shape.input_factor == 1 && shape.key_factor == 1;
  at::Tensor weight = weights_.stack({q + ".weight", k + ".weight", v + ".weight"}), bias;
  if (shape.gated) weight = with_gate_last(weight, shape);
  if (!plain) weight = scaled_rows(weight, parts);
  if (shape.query_key_value_bias) {
    bias = weights_.stack({q + ".bias", k + ".bias", v + ".bias"});
    if (shape.gated) bias = with_gate_last(bias, shape);
    // The input's factor is not the bias's.
    if (shape.key_factor != 1)
      bias = scaled_rows(
          bias, {{shape.queries(), 1}, {shape.keys(), shape.key_factor}, {shape.keys(), 1}});
  }
  AttentionWeights loaded{weights_.projection(weight), bias, output(prefix + names.output)};
  loaded.rotations = rotations_.of(shape.rotary);
  if (shape.head_norms != AttentionShape::HeadNorms::kNone) {
    loaded.query_norm = norm(prefix + names.query_norm).weight;
    loaded.key_norm = norm(prefix + names.key_norm).weight;
    loaded.norm_epsilon = epsilon_;
  }
  return std::make_unique<AttentionMixer>(shape, std::move(loaded));
}

std::unique_ptr<Mixer> BlockLoader::mlp(const std::string& prefix, const MlpShape& shape,
                                        const MlpNames& names) {
  const std::string gate = prefix + names.gate, up = prefix + names.up;
  const std::int64_t inner = shape.inner;
  MlpWeights loaded;
  loaded.output = output(prefix + names.down);
  if (!shape.gated) {
    loaded.in = weights_.projection(up + ".weight");
    loaded.in_bias = weights_.optional(up + ".bias");
    return std::make_unique<Mlp>(shape, std::move(loaded));
  }
  const auto stacked = [&](const char* part) {
    const at::Tensor both = weights_.stack({gate + part, up + part});
    return shape.gate_factor == 1 ? both
                                  : scaled_rows(both, {{inner, shape.gate_factor}, {inner, 1}});
  };
  loaded.in = weights_.projection(stacked(".weight"));
  if (shape.bias) loaded.in_bias = stacked(".bias");
  return std::make_unique<Mlp>(shape, std::move(loaded));
}

std::unique_ptr<Mixer> BlockLoader::mamba(const std::string& prefix, const MambaShape& shape) {
  const at::Tensor a_log = weights_.take(prefix + "A_log");
  MambaWeights one;
  one.in = weights_.projection(prefix + "in_proj.weight");
  one.in_bias = weights_.activation_bias(prefix + "in_proj.bias");
  one.convolution = {causal_taps(weights_.take(prefix + "conv1d.weight")),
                     weights_.optional(prefix + "conv1d.bias")};
  one.parameters = weights_.projection(prefix + "x_proj.weight");
  one.time_step = weights_.projection(prefix + "dt_proj.weight");
  one.scan = {a_log.exp().neg().t().contiguous(), weights_.take(prefix + "D"),
              weights_.take(prefix + "dt_proj.bias")};
  one.output = output(prefix + "out_proj");
  one.decay_norms = decay_norms_of(a_log);
  if (shape.parameter_weights)
    for (size_t i = 0; i < one.parameter_norms.size(); ++i)
      one.parameter_norms[i] = weights_.take(prefix + kParameterNorms[i] + ".weight");
  return std::make_unique<MambaMixer>(shape, std::move(one));
}

std::unique_ptr<Mixer> BlockLoader::mamba2(const std::string& prefix, const Mamba2Shape& shape,
                                           double epsilon) {
  const at::Tensor a_log = weights_.take(prefix + "A_log");
  const Mamba2Factors& factors = shape.factors;
  const auto scaled = [&](const at::Tensor& rows, double input) {
    const std::int64_t states = shape.group_states();
    return scaled_rows(rows, {{2 * shape.mlp_size, input},
                              {shape.inner, input * factors.z},
                              {shape.inner, input * factors.x},
                              {states, input * factors.b},
                              {states, input * factors.c},
                              {shape.heads, input * factors.dt}});
  };
  const bool plain = factors == Mamba2Factors{};
  const std::string in = prefix + "in_proj.weight", bias = prefix + "in_proj.bias";
  Mamba2Weights one;
  one.in = plain ? weights_.projection(in)
                 : weights_.projection(scaled(weights_.take(in), factors.input));
  one.in_bias = weights_.activation_bias(bias);
  if (!plain && one.in_bias.defined()) one.in_bias = scaled(one.in_bias, 1);
  one.convolution = {causal_taps(weights_.take(prefix + "conv1d.weight")),
                     weights_.optional(prefix + "conv1d.bias")};
  one.dual = {a_log.exp().neg(),
              weights_.take(prefix + "D"),
              weights_.take(prefix + "dt_bias"),
              shape.dt_min,
              shape.dt_max,
              shape.heads,
              shape.head_size,
              shape.groups,
              shape.states};
  one.gated_norm = {weights_.optional(prefix + "norm.weight"), shape.norm_group, epsilon,
                    shape.norm_before_gate};
  one.output = output(prefix + "out_proj");
  one.decay_norms = decay_norms_of(a_log);
  return std::make_unique<Mamba2Mixer>(shape, std::move(one));
}

Expert BlockLoader::expert(const std::string& prefix, bool gated, const MlpNames& names) {
  const std::string gate = prefix + names.gate + ".weight", up = prefix + names.up + ".weight";
  return {gated ? weights_.projection(weights_.stack({gate, up})) : weights_.projection(up),
          weights_.projection(prefix + names.down + ".weight")};
}

std::unique_ptr<Mixer> BlockLoader::mixture(const std::string& prefix, const MixtureShape& shape,
                                            const MixtureNames& names) {
  MixtureWeights loaded;
  loaded.router = weights_.projection(prefix + names.router + ".weight");
  if (shape.routing.weights == Routing::Weights::kScores)
    loaded.choice = weights_.take(prefix + names.choice);
  for (int e = 0; e < shape.routing.experts; ++e)
    loaded.experts.push_back(expert(expert_prefix(prefix, names, e), shape.gated, names.matrices));
  if (shape.shared_inner > 0)
    loaded.shared = expert(prefix + names.shared, shape.gated, names.matrices);
  if (shape.shared_gate)
    loaded.shared_gate = weights_.projection(prefix + names.shared_gate + ".weight");
  if (shape.latent > 0) {
    loaded.into_latent = weights_.projection(prefix + "fc1_latent_proj.weight");
    loaded.out_of_latent = weights_.projection(prefix + "fc2_latent_proj.weight");
  }
  return std::make_unique<Mixture>(shape, std::move(loaded));
}

std::unique_ptr<Mixer> BlockLoader::delta(const std::string& prefix, const GatedDeltaShape& shape,
                                          const std::string& norm, double norm_epsilon,
                                          const std::string& output_name, const at::Tensor& in,
                                          const at::Tensor& taps) {
  const at::Tensor a_log = weights_.take(prefix + "A_log");
  GatedDeltaWeights one;
  one.in = weights_.projection(in);
  one.convolution = {causal_taps(taps), {}};
  one.a = a_log.exp().neg();
  one.dt_bias = weights_.take(prefix + "dt_bias");
  one.norm = weights_.take(prefix + norm + ".weight");
  one.norm_epsilon = norm_epsilon;
  one.output = output(prefix + output_name);
  one.decay_norms = decay_norms_of(a_log);
  return std::make_unique<GatedDelta>(shape, std::move(one));
}

std::unique_ptr<Mixer> BlockLoader::mixer(const std::string& layer, const MixerShape& shape,
                                          const LayerNames& names) {
  if (const auto* one = dynamic_cast<const AttentionShape*>(&shape))
    return attention(layer + names.attention, *one, names.matrices);
  if (const auto* one = dynamic_cast<const MambaShape*>(&shape))
    return mamba(layer + names.recurrent, *one);
  if (const auto* one = dynamic_cast<const Mamba2Shape*>(&shape))
    return mamba2(layer + names.recurrent, *one, epsilon_);
  if (const auto* one = dynamic_cast<const MixtureShape*>(&shape))
    return mixture(layer + names.mlp, *one, names.mixture);
  return mlp(layer + names.mlp, dynamic_cast<const MlpShape&>(shape), names.mlp_matrices);
}

TensorTable tensors_in_turn(const Architecture& architecture, const LayerNames& names,
                            const OwnTensors& own) {
  TensorTable table;
  table.prefix = names.embedding.substr(0, names.embedding.find('.') + 1);
  add_embedding_and_head(table, architecture, names.embedding, "lm_head.weight");
  TableBuilder builder(table, architecture.hidden);
  builder.norm(names.final_norm);
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string layer = fmt::format("{}{}.", names.layers, i);
    const LayerShape& blocks = architecture.blocks[static_cast<size_t>(i)];
    for (size_t b = 0; b < blocks.size(); ++b) {
      const MixerShape& shape = *blocks[b].mixer;
      builder.norm(layer + names.norms.at(b));
      if (!own || !own(builder, layer, shape)) builder.mixer(layer, shape, names);
    }
  }
  return table;
}

NetworkParts parts_in_turn(const Architecture& architecture, Weights& weights,
                           const LayerNames& names, const OwnMixer& own) {
  BlockLoader loader(weights, architecture.norm_epsilon, names.one_plus);
  NetworkParts parts{names.embedding, "lm_head.weight", "", loader.norm(names.final_norm)};
  for (int i = 0; i < architecture.layers; ++i) {
    const std::string layer = fmt::format("{}{}.", names.layers, i);
    const LayerShape& blocks = architecture.blocks[static_cast<size_t>(i)];
    std::vector<NetworkBlock>& loaded = parts.layers.emplace_back();
    for (size_t b = 0; b < blocks.size(); ++b) {
      const MixerShape& shape = *blocks[b].mixer;
      Norm norm = loader.norm(layer + names.norms.at(b));
      std::unique_ptr<Mixer> mixer = own ? own(loader, layer, shape) : nullptr;
      if (mixer == nullptr) mixer = loader.mixer(layer, shape, names);
      loaded.push_back({std::move(norm), std::move(mixer)});
    }
  }
  return parts;
}

}  // namespace factflow
