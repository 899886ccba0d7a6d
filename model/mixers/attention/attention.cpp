#include "model/mixers/attention/attention.hpp"

namespace factflow {
namespace {

// One norm of all heads' numbers, or of each head's by the same weight.
GatedNorm norm_of_heads(const at::Tensor& weight, std::int64_t heads, std::int64_t head_size,
                        double epsilon) {
  if (!weight.defined()) return {};
  const at::Tensor whole = weight.numel() == head_size ? weight.repeat({heads}) : weight;
  return {whole.contiguous(), weight.numel(), epsilon, false};
}

}  // namespace

AttentionMixer::AttentionMixer(const AttentionShape& shape, AttentionWeights weights)
    : Mixer(std::move(weights.output)),
      shape_(shape),
      query_key_value_(std::move(weights.query_key_value)),
      query_key_value_bias_(std::move(weights.query_key_value_bias)),
      rotations_(std::move(weights.rotations)),
      query_norm_(
          norm_of_heads(weights.query_norm, shape.heads, shape.head_size, weights.norm_epsilon)),
      key_norm_(
          norm_of_heads(weights.key_norm, shape.key_heads, shape.head_size, weights.norm_epsilon)) {
  if (query_key_value_bias_.defined())
    query_key_value_bias_ = query_key_value_bias_.to(activation_type(query_key_value_.precision()));
}

// The keys and values of a token stay in its column, where later columns of the row find them.
Factor AttentionMixer::mix(Step& step, const Factor& input) const {
  const AttentionShape& shape = shape_;
  const std::int64_t queries = shape.queries(), keys = shape.keys();
  const at::Tensor all = step.matrix("query key value", shape.projected()),
                   qkv = all.narrow(1, 0, queries + 2 * keys);
  multiply(input, query_key_value_, query_key_value_bias_, all);
  if (query_norm_.weight.defined()) {
    const auto normalise = [&](const GatedNorm& norm, std::int64_t begin, std::int64_t width) {
      const at::Tensor part = qkv.narrow(1, begin, width);
      apply_gated_norm(step.rows, norm, part, {}, {part});
    };
    normalise(query_norm_, 0, queries);
    normalise(key_norm_, queries, keys);
  }
  if (rotations_ != nullptr)
    rotate(step.rows, rotations_->up_to(step.rows.longest), shape.head_size,
           qkv.narrow(1, 0, queries + keys));
  const Factor mixed = step.factor("mixed", queries);
  attend(step.rows,
         {shape.heads, shape.key_heads, shape.head_size, shape.scale, shape.sliding_window,
          shape.score_cap},
         qkv, mixed, step.state_cut());
  step.at(Site::kS, mixed);
  return shape.gated ? gated(step, mixed, all.narrow(1, queries + 2 * keys, queries)) : mixed;
}

// By libtorch operations on any device.
Factor AttentionMixer::gated(Step& step, const Factor& heads, const at::Tensor& gate) const {
  const at::ScalarType wide = step.hidden.scalar_type();
  const at::Tensor every = at::arange(step.columns(), gate.options().dtype(at::kLong));
  const at::Tensor g = gate.to(wide).sigmoid();
  step.at(Site::kG, {g});
  const at::Tensor y = read_rows(heads, every, wide).mul_(g).to(gate.scalar_type());
  const Factor out = factor_of(step.rows, step.workspace, y);
  step.at(Site::kY, out);
  return out;
}

}  // namespace factflow
