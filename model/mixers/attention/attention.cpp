#include "model/mixers/attention/attention.hpp"

namespace factflow {

AttentionMixer::AttentionMixer(const AttentionShape& shape, AttentionWeights weights)
    : Mixer(std::move(weights.output)),
      shape_(shape),
      query_key_value_(std::move(weights.query_key_value)),
      query_key_value_bias_(std::move(weights.query_key_value_bias)),
      rotations_(std::move(weights.rotations)) {
  if (query_key_value_bias_.defined())
    query_key_value_bias_ = query_key_value_bias_.to(activation_type(query_key_value_.precision()));
}

// The keys and values of a token stay in its column, where later columns of the row find them.
Factor AttentionMixer::mix(Step& step, const Factor& input) const {
  const AttentionShape& shape = shape_;
  const std::int64_t queries = shape.queries(), keys = shape.keys();
  const at::Tensor qkv = step.matrix("query key value", queries + 2 * keys);
  multiply(input, query_key_value_, query_key_value_bias_, qkv);
  if (rotations_ != nullptr) {
    const auto [cosine, sine] = rotations_->up_to(step.rows.longest);
    rotate(step.rows, cosine, sine, shape.head_size, qkv.narrow(1, 0, queries + keys));
  }
  const Factor mixed = step.factor("mixed", queries);
  attend(step.rows,
         {shape.heads, shape.key_heads, shape.head_size, shape.scale, shape.sliding_window}, qkv,
         mixed, step.state_cut());
  step.at(Site::kS, mixed);
  return mixed;
}

}  // namespace factflow
