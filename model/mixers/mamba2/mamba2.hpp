#pragma once

#include <memory>
#include <vector>

#include "model/mixers/mamba2/mamba2_shape.hpp"
#include "model/mixers/mixer.hpp"

namespace factflow {

struct Mamba2Weights {
  Projection in;            // [shape.projected(), hidden]
  at::Tensor in_bias;       // in the type of activations, or undefined
  Convolution convolution;  // over x, B and C
  StateSpaceDual dual;
  GatedNorm gated_norm;
  OutputProjection output;  // [hidden, mlp + inner]
  std::vector<double> decay_norms;
};

class Mamba2Mixer final : public Mixer {
 public:
  Mamba2Mixer(const Mamba2Shape& shape, Mamba2Weights weights);

  const Mamba2Shape& shape() const override { return shape_; }
  Factor mix(Step& step, const Factor& input) const override;
  at::Tensor reference_mix(ReferencePass& pass, int layer, const at::Tensor& x) const override;
  std::vector<LayerProduct> products() const override { return {{&weights_.in}}; }
  std::vector<double> decay_norms() const override { return weights_.decay_norms; }
  std::vector<EditableMatrix> editable() const override;
  at::Tensor losing_state(const Block& block, at::Device device) const override;
  at::Tensor losing_taps(const Block& block, at::Device device) const override;

 private:
  at::Tensor gated(const at::Tensor& s, const at::Tensor& g) const;
  at::Tensor gated_apart(Step& step, const at::Tensor& x, const at::Tensor& y,
                         const at::Tensor& z) const;

  Mamba2Shape shape_;
  Mamba2Weights weights_;  // but the output's
};

}  // namespace factflow
