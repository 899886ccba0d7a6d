#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "model/mixers/attention/attention_shape.hpp"
#include "model/mixers/attention/rotary_tables.hpp"
#include "model/mixers/mixer.hpp"

namespace factflow {

struct AttentionWeights {
  Projection query_key_value;       // [shape.projected(), hidden]
  at::Tensor query_key_value_bias;  // or undefined; of any type
  OutputProjection output;          // [hidden, heads head_size]
  // Of all layers that rotate alike; null = none.
  std::shared_ptr<RotaryTables> rotations = nullptr;
  // As AttentionShape::head_norms: [head_size] both, or [heads head_size] and [key_heads
  // head_size]; wide.
  at::Tensor query_norm = {}, key_norm = {};
  double norm_epsilon = 0;
};

class AttentionMixer final : public Mixer {
 public:
  AttentionMixer(const AttentionShape& shape, AttentionWeights weights);

  const AttentionShape& shape() const override { return shape_; }
  Factor mix(Step& step, const Factor& input) const override;
  at::Tensor reference_mix(ReferencePass& pass, int layer, const at::Tensor& x) const override;
  std::vector<LayerProduct> products() const override { return {{&query_key_value_}}; }
  std::vector<EditableMatrix> editable() const override {
    return {whole_output(EditedMatrix::kWo, shape_.gated ? Site::kY : Site::kS, Site::kO)};
  }
  at::Tensor losing_state(const Block& block, at::Device device) const override;

 private:
  Factor gated(Step& step, const Factor& heads, const at::Tensor& gate) const;
  at::Tensor open_edges(const ReferencePass& pass, int layer, std::int64_t tokens,
                        at::Device device) const;

  AttentionShape shape_;
  Projection query_key_value_;
  at::Tensor query_key_value_bias_;  // in the type of activations
  std::shared_ptr<RotaryTables> rotations_;
  GatedNorm query_norm_, key_norm_;  // without gates; weights undefined: none
};

}  // namespace factflow
