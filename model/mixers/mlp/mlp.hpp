#pragma once

#include <memory>
#include <vector>

#include "model/mixers/mixer.hpp"
#include "model/mixers/mlp/mlp_shape.hpp"

namespace factflow {

struct MlpWeights {
  Projection in;            // [inner, hidden], or gate above up: [2 inner, hidden]
  at::Tensor in_bias;       // or undefined; of any type
  OutputProjection output;  // [hidden, inner]
};

class Mlp final : public Mixer {
 public:
  Mlp(const MlpShape& shape, MlpWeights weights);

  const MlpShape& shape() const override { return shape_; }
  Factor mix(Step& step, const Factor& input) const override;
  at::Tensor reference_mix(ReferencePass& pass, int layer, const at::Tensor& x) const override;
  std::vector<LayerProduct> products() const override { return {{&in_}}; }
  std::vector<EditableMatrix> editable() const override;

 private:
  // [columns, inner]: what the output projection multiplies.
  Factor activated(Step& step, const Factor& input) const;

  MlpShape shape_;
  Projection in_;
  at::Tensor in_bias_;  // in the type of activations
};

}  // namespace factflow
