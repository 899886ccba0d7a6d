#include <limits>

#include "model/mixers/attention/attention.hpp"
#include "model/reference/reference_ops.hpp"

namespace factflow {
namespace {

// Rotates the first dimensions of heads [.., tokens, heads, size] by position; the rest stays.
at::Tensor rotated(const at::Tensor& heads, const Rotary& rotary) {
  if (rotary.dimensions == 0) return heads;
  const at::Tensor frequencies =
      at::tensor(inverse_frequencies(rotary, heads.size(-3)), at::kDouble);
  const std::int64_t half = frequencies.numel(), size = heads.size(-1);
  const at::Tensor angles =
      (at::arange(heads.size(-3), at::kDouble).unsqueeze(1) * frequencies).unsqueeze(1);
  const at::Tensor cosine = (angles.cos() * rotary.magnitude).to(heads.options()),
                   sine = (angles.sin() * rotary.magnitude).to(heads.options());
  const auto parts = heads.split_with_sizes({half, half, size - 2 * half}, -1);
  return at::cat(
      {parts[0] * cosine - parts[1] * sine, parts[1] * cosine + parts[0] * sine, parts[2]}, -1);
}

// The norm of heads [.., tokens, heads, size], each by itself or all together.
at::Tensor normalised_heads(const at::Tensor& heads, const GatedNorm& norm) {
  if (!norm.weight.defined()) return heads;
  const at::Tensor rows = heads.flatten(-2);
  return (reference::rms_normalised(rows, norm.group, norm.epsilon) * norm.weight)
      .reshape(heads.sizes());
}

}  // namespace

// [heads] true for the query heads that a block takes.
at::Tensor AttentionMixer::losing_state(const Block& block, at::Device device) const {
  if (const auto* some = std::get_if<Heads>(&block.selection))
    return chosen(some->indices, shape_.heads, device);
  return at::ones({shape_.heads}, at::TensorOptions(device).dtype(at::kBool));
}

// [heads or 1, target, source] true = the target reads the source.
at::Tensor AttentionMixer::open_edges(const ReferencePass& pass, int layer, std::int64_t tokens,
                                      at::Device device) const {
  const at::Tensor position = at::arange(tokens, at::TensorOptions(device).dtype(at::kLong));
  const at::Tensor back = position.unsqueeze(1) - position;
  at::Tensor open = back >= 0;
  if (shape_.sliding_window > 0) open = open & (back < shape_.sliding_window);
  const at::Tensor cut = pass.cut(Block::Through::kState, layer, shape_.heads, device,
                                  [&](const Block& block) { return losing_state(block, device); });
  return cut.defined() ? open & ~cut.permute({2, 0, 1}) : open.unsqueeze(0);
}

// The heads' outputs side by side. A head that is left with no key gives 0.
at::Tensor AttentionMixer::reference_mix(ReferencePass& pass, int layer,
                                         const at::Tensor& x) const {
  const std::int64_t heads = shape_.heads, key_heads = shape_.key_heads;
  const std::int64_t gates = shape_.gated ? heads : 0;
  const auto parts = reference::projected(x, query_key_value_, query_key_value_bias_)
                         .unflatten(-1, {heads + 2 * key_heads + gates, shape_.head_size})
                         .split_with_sizes({heads, key_heads, key_heads, gates}, -2);
  // [.., heads, tokens, size]
  const auto turned = [&](const at::Tensor& part, const GatedNorm& norm) {
    return rotated(normalised_heads(part, norm), shape_.rotary);
  };
  const at::Tensor queries = turned(parts[0], query_norm_).transpose(-3, -2);
  const at::Tensor keys =
      turned(parts[1], key_norm_).repeat_interleave(heads / key_heads, -2).transpose(-3, -2);
  const at::Tensor values = parts[2].repeat_interleave(heads / key_heads, -2).transpose(-3, -2);
  // [.., heads, target, source]
  at::Tensor scores = queries.matmul(keys.transpose(-2, -1)) * shape_.scale;
  if (shape_.score_cap > 0) scores = (scores / shape_.score_cap).tanh() * shape_.score_cap;
  const at::Tensor open = open_edges(pass, layer, x.size(-2), x.device()),
                   some = open.any(-1, /*keepdim=*/true);
  const at::Tensor weights = scores.masked_fill(~open, -std::numeric_limits<double>::infinity())
                                 .masked_fill(~some, 0)
                                 .softmax(-1) *
                             some.to(x.scalar_type());
  const at::Tensor s =
      pass.at(Site::kS, layer, weights.matmul(values).transpose(-3, -2).flatten(-2));
  if (!shape_.gated) return s;
  const at::Tensor g = pass.at(Site::kG, layer, parts[3].flatten(-2).sigmoid());
  return pass.at(Site::kY, layer, s * g);
}

}  // namespace factflow
