#include "model/families/transformer.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "model/config_reader.hpp"
#include "model/families/declarations.hpp"
#include "model/families/family.hpp"
#include "model/reference/reference_layers.hpp"
#include "model/weights.hpp"

namespace factflow {
namespace {

// A bias that is added to the residual stream is the same for every token, so the stream goes
// without it and each norm adds what has come together below it: two passages over the stream fewer
// in every layer. Returns the final norm.
Norm fold_biases(std::vector<TransformerLayer>& layers, Norm final_norm, bool parallel_residual) {
  at::Tensor sum;  // [hidden], undefined = nothing yet
  const auto add = [&](const at::Tensor& bias) {
    if (bias.defined()) sum = sum.defined() ? sum + bias : bias;
  };
  for (TransformerLayer& layer : layers) {
    layer.attention_norm.offset = sum;
    if (parallel_residual) layer.mlp_norm.offset = sum;
    add(layer.attention_output_bias);
    if (!parallel_residual) layer.mlp_norm.offset = sum;
    add(layer.mlp_out_bias);
  }
  final_norm.offset = sum;
  return final_norm;
}

}  // namespace

Transformer::Transformer(const Architecture& architecture, Weights& weights,
                         const std::string& embedding, const std::string& head,
                         const std::string& position_embedding, Norm final_norm,
                         std::vector<TransformerLayer> layers)
    : Network(
          architecture, weights, embedding, head, position_embedding,
          fold_biases(layers, std::move(final_norm), architecture.transformer().parallel_residual)),
      layers_(std::move(layers)),
      rotary_tables_(inverse_frequencies(architecture.transformer().rotary),
                     at::TensorOptions().dtype(type()).device(device())) {
  for (TransformerLayer& layer : layers_)
    for (at::Tensor* bias : {&layer.query_key_value_bias, &layer.mlp_in_bias})
      if (bias->defined()) *bias = bias->to(activation_type(precision()));
}

void Transformer::layer(Step& step) const {
  const TransformerLayer& layer = layers_[static_cast<size_t>(step.layer)];
  const Factor normalised = step.factor("normalised", architecture_.hidden);
  if (architecture_.transformer().parallel_residual) {
    const Factor mlp_input = step.factor("mlp normalised", architecture_.hidden);
    apply_norm(step.rows, layer.attention_norm, step.hidden, normalised);
    apply_norm(step.rows, layer.mlp_norm, step.hidden, mlp_input);
    attend_to_past(step, layer, normalised);
    feed_forward(step, layer, mlp_input);
    return;
  }
  apply_norm(step.rows, layer.attention_norm, step.hidden, normalised);
  attend_to_past(step, layer, normalised);
  apply_norm(step.rows, layer.mlp_norm, step.hidden, normalised);
  feed_forward(step, layer, normalised);
}

// The keys and values of a token stay in its column, where later columns of the row find them.
void Transformer::attend_to_past(Step& step, const TransformerLayer& layer,
                                 const Factor& input) const {
  const TransformerShape& shape = architecture_.transformer();
  const std::int64_t queries = static_cast<std::int64_t>(shape.heads) * shape.head_size;
  const std::int64_t keys = static_cast<std::int64_t>(shape.key_heads) * shape.head_size;
  const at::Tensor qkv = step.matrix("query key value", queries + 2 * keys);
  multiply(input, layer.query_key_value, layer.query_key_value_bias, qkv);
  if (shape.rotary.dimensions > 0) {
    const auto [cosine, sine] = rotary_tables_.up_to(step.rows.longest);
    rotate(step.rows, cosine, sine, shape.head_size, qkv.narrow(1, 0, queries + keys));
  }
  Attention attention{shape.heads, shape.key_heads, shape.head_size,
                      1.0 / std::sqrt(shape.head_size)};
  if (shape.scale_by_layer) attention.scale /= step.layer + 1;
  if (!shape.sliding_windows.empty())
    attention.sliding_window = shape.sliding_windows[static_cast<size_t>(step.layer)];
  const Factor mixed = step.factor("mixed", queries);
  attend(step.rows, attention, qkv, mixed);
  multiply_into(mixed, layer.attention_output, {}, step.hidden);
}

void Transformer::feed_forward(Step& step, const TransformerLayer& layer,
                               const Factor& input) const {
  multiply_into(activated(step, layer, input), layer.mlp_out, {}, step.hidden);
}

Factor Transformer::activated(Step& step, const TransformerLayer& layer,
                              const Factor& input) const {
  const TransformerShape& shape = architecture_.transformer();
  const at::Tensor inner = step.matrix("mlp", layer.mlp_in.outputs());
  if (!shape.gated_mlp && shape.activation == kernels::Activation::kGeluTanh &&
      multiply_gelu(input, layer.mlp_in, layer.mlp_in_bias, inner))
    return {inner};
  multiply(input, layer.mlp_in, layer.mlp_in_bias, inner);
  const at::Tensor gate = inner.narrow(1, 0, shape.mlp_size);
  const Factor out = step.workspace.factor_over("mlp activated", gate);
  activate(step.rows, shape.activation, gate,
           shape.gated_mlp ? inner.narrow(1, shape.mlp_size, shape.mlp_size) : at::Tensor(), out);
  return out;
}

at::Tensor RotaryTables::angles(std::int64_t positions) const {
  const auto width = static_cast<std::int64_t>(frequencies_.size());
  at::Tensor angles = at::empty({positions, width}, at::TensorOptions().dtype(at::kDouble));
  for (std::int64_t position = 0; position < positions; ++position)
    for (std::int64_t i = 0; i < width; ++i)
      angles.data_ptr<double>()[position * width + i] =
          static_cast<double>(position) * frequencies_[static_cast<size_t>(i)];
  return angles;
}

std::pair<at::Tensor, at::Tensor> RotaryTables::up_to(std::int32_t positions) {
  const std::lock_guard lock(mutex_);
  const std::int64_t known = tables_.empty() ? 0 : tables_.back().first.size(0);
  if (known < positions) {
    const at::Tensor turned = angles(std::max<std::int64_t>({positions, 64, 2 * known}));
    tables_.emplace_back(turned.cos().to(options_), turned.sin().to(options_));
  }
  return tables_.back();
}

LayerMemory transformer_memory(const Architecture& architecture, Precision precision) {
  const TransformerShape& shape = architecture.transformer();
  const std::int64_t queries = static_cast<std::int64_t>(shape.heads) * shape.head_size,
                     mlp = shape.mlp_size;
  const std::int64_t activations =
      queries + 2 * static_cast<std::int64_t>(shape.key_heads) * shape.head_size +
      mlp * (shape.gated_mlp ? 2 : 1);
  const std::int64_t norms = architecture.hidden * (shape.parallel_residual ? 2 : 1);
  const std::int64_t factors = norms + queries + (precision == Precision::kTf32x3 ? mlp : 0);
  return {activations * activation_bytes(precision) + factors * factor_bytes(precision), 0};
}

std::int64_t Transformer::bytes_per_column() const {
  return transformer_memory(architecture_, precision()).per_column;
}

std::vector<LayerProduct> Transformer::products(int index) const {
  const TransformerLayer& layer = layers_[static_cast<size_t>(index)];
  using Into = LayerProduct::Into;
  return {{&layer.query_key_value},
          {&layer.attention_output, Into::kResidual},
          {&layer.mlp_in},
          {&layer.mlp_out, Into::kResidual}};
}

std::vector<Site> Transformer::sites() const {
  return {Site::kH, Site::kS, Site::kO, Site::kMlpIn, Site::kMlpHidden, Site::kMlp, Site::kNorm};
}

void Transformer::check_block(const Block& block) const {
  if (block.through == Block::Through::kConvolution)
    throw std::invalid_argument(architecture_.family + " has no edges through a convolution");
  const auto* set = std::get_if<ChannelSet>(&block.selection);
  const bool some = set != nullptr && set->kind != ChannelSet::Kind::kAll;
  if (std::holds_alternative<Channels>(block.selection) || some || block.parts)
    throw std::invalid_argument(architecture_.family + " has heads, not channels or parts");
}

at::Tensor Transformer::reference_layer(ReferencePass& pass, int layer, const at::Tensor& h) const {
  return reference::transformer_layer(pass, layer, h, architecture_.transformer(),
                                      layers_[static_cast<size_t>(layer)]);
}

std::vector<double> inverse_frequencies(const Rotary& rotary) {
  std::vector<double> frequencies;
  for (int i = 0; i < rotary.dimensions; i += 2) {
    double frequency = std::pow(rotary.theta, -static_cast<double>(i) / rotary.dimensions);
    if (rotary.scaling == Rotary::Scaling::kLinear) frequency /= rotary.factor;
    if (rotary.scaling == Rotary::Scaling::kLlama3) {
      const double wavelength = 2 * std::numbers::pi / frequency;
      const double longest = rotary.original_max_positions / rotary.low_frequency_factor;
      const double shortest = rotary.original_max_positions / rotary.high_frequency_factor;
      if (wavelength > longest) {
        frequency /= rotary.factor;
      } else if (wavelength >= shortest) {
        const double smooth =
            (rotary.original_max_positions / wavelength - rotary.low_frequency_factor) /
            (rotary.high_frequency_factor - rotary.low_frequency_factor);
        frequency = (1 - smooth) * frequency / rotary.factor + smooth * frequency;
      }
    }
    frequencies.push_back(frequency);
  }
  return frequencies;
}

kernels::Activation read_activation(ConfigReader& config, const std::string& key,
                                    const std::string& fallback) {
  const std::string name = config.word(key, fallback);
  if (name == "silu" || name == "swish") return kernels::Activation::kSilu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast")
    return kernels::Activation::kGeluTanh;
  if (name == "gelu") return kernels::Activation::kGelu;
  if (name == "relu") return kernels::Activation::kRelu;
  config.fail(
      key, fmt::format("supported are silu, gelu, gelu_new, gelu_pytorch_tanh and relu, found '{}'",
                       name));
}

}  // namespace factflow
