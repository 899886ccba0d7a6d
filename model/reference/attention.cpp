// The layer of GPT-2, GPT-NeoX and the Llama family.
#include <cmath>
#include <limits>

#include "model/reference/reference_layers.hpp"

namespace factflow::reference {
namespace {

// Rotates the first dimensions of heads [tokens, heads, size] by position; the rest stays.
at::Tensor rotated(const at::Tensor& heads, const Rotary& rotary) {
  if (rotary.dimensions == 0) return heads;
  const at::Tensor frequencies = at::tensor(inverse_frequencies(rotary), at::kDouble);
  const std::int64_t half = frequencies.numel(), size = heads.size(2);
  const at::Tensor angles =
      (at::arange(heads.size(0), at::kDouble).unsqueeze(1) * frequencies).unsqueeze(1);
  const at::Tensor cosine = angles.cos().to(heads.options()),
                   sine = angles.sin().to(heads.options());
  const auto parts = heads.split_with_sizes({half, half, size - 2 * half}, 2);
  return at::cat(
      {parts[0] * cosine - parts[1] * sine, parts[1] * cosine + parts[0] * sine, parts[2]}, 2);
}

// [heads] true for the query heads that a block takes.
at::Tensor losing_heads(const Block& block, std::int64_t heads, at::Device device) {
  if (const auto* some = std::get_if<Heads>(&block.selection))
    return chosen(some->indices, heads, device);
  return at::ones({heads}, at::TensorOptions(device).dtype(at::kBool));
}

// [target, source, heads] true = the target reads the source.
at::Tensor open_edges(const ReferencePass& pass, int index, const TransformerShape& shape,
                      at::Device device) {
  const at::Tensor position = at::arange(pass.tokens(), at::TensorOptions(device).dtype(at::kLong));
  const at::Tensor back = position.unsqueeze(1) - position;
  at::Tensor open = back >= 0;
  if (!shape.sliding_windows.empty())
    if (const std::int64_t window = shape.sliding_windows[static_cast<size_t>(index)]; window > 0)
      open = open & (back < window);
  const at::Tensor cut =
      pass.cut(Block::Through::kState, index, shape.heads, device,
               [&](const Block& block) { return losing_heads(block, shape.heads, device); });
  return open.unsqueeze(2) & ~cut;
}

// The heads' outputs side by side. A head that is left with no key gives 0.
at::Tensor attended(const ReferencePass& pass, int index, const at::Tensor& x,
                    const TransformerShape& shape, const TransformerLayer& layer) {
  const std::int64_t heads = shape.heads, key_heads = shape.key_heads;
  const auto parts = projected(x, layer.query_key_value, layer.query_key_value_bias)
                         .reshape({x.size(0), heads + 2 * key_heads, shape.head_size})
                         .split_with_sizes({heads, key_heads, key_heads}, 1);
  const at::Tensor queries = rotated(parts[0], shape.rotary);
  const at::Tensor keys = rotated(parts[1], shape.rotary).repeat_interleave(heads / key_heads, 1);
  const at::Tensor values = parts[2].repeat_interleave(heads / key_heads, 1);
  const double scale = 1 / std::sqrt(shape.head_size) / (shape.scale_by_layer ? index + 1 : 1);
  // [target, source, heads]
  const at::Tensor scores =
      queries.transpose(0, 1).matmul(keys.permute({1, 2, 0})).permute({1, 2, 0}) * scale;
  const at::Tensor open = open_edges(pass, index, shape, x.device()),
                   some = open.any(1, /*keepdim=*/true);
  const at::Tensor weights = scores.masked_fill(~open, -std::numeric_limits<double>::infinity())
                                 .masked_fill(~some, 0)
                                 .softmax(1) *
                             some.to(x.scalar_type());
  return weights.permute({2, 0, 1})
      .matmul(values.transpose(0, 1))
      .transpose(0, 1)
      .reshape({x.size(0), heads * shape.head_size});
}

at::Tensor fed_forward(ReferencePass& pass, int index, const at::Tensor& x,
                       const TransformerShape& shape, const TransformerLayer& layer) {
  const at::Tensor in = pass.at(Site::kMlpIn, index, x);
  at::Tensor hidden = projected(in, layer.mlp_in, layer.mlp_in_bias);
  if (shape.gated_mlp) {
    const auto parts = hidden.split(shape.mlp_size, 1);
    hidden = activated(parts[0], shape.activation) * parts[1];
  } else {
    hidden = activated(hidden, shape.activation);
  }
  hidden = pass.at(Site::kMlpHidden, index, hidden);
  return pass.at(Site::kMlp, index, projected(hidden, layer.mlp_out, layer.mlp_out_bias));
}

}  // namespace

at::Tensor transformer_layer(ReferencePass& pass, int index, const at::Tensor& h,
                             const TransformerShape& shape, const TransformerLayer& layer) {
  const at::Tensor s = pass.at(
      Site::kS, index, attended(pass, index, normalised(h, layer.attention_norm), shape, layer));
  const at::Tensor o =
      pass.at(Site::kO, index, projected(s, layer.attention_output, layer.attention_output_bias));
  const at::Tensor into_mlp = shape.parallel_residual ? h : h + o;
  return h + o + fed_forward(pass, index, normalised(into_mlp, layer.mlp_norm), shape, layer);
}

}  // namespace factflow::reference
