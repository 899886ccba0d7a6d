#pragma once

#include <vector>

#include "model/mixers/mixer.hpp"
#include "model/mixers/rg_lru/rg_lru_shape.hpp"

namespace factflow {

struct RgLruWeights {
  Projection in;            // [2 width, hidden]: x above the gate
  at::Tensor in_bias;       // in the type of activations
  Convolution convolution;  // over x
  // Of the gates of what enters and of the decay: [blocks, in, out], [blocks, out].
  at::Tensor input_gate, input_bias, decay_gate, decay_bias;
  at::Tensor decay;         // [width] softplus of the recurrent parameter
  OutputProjection output;  // [hidden, width]
  std::vector<double> decay_norms;
};

// What enters and what stays of some tokens, wide, [.., width].
struct RgLruTokens {
  at::Tensor input, decay;
};

class RgLru final : public Mixer {
 public:
  RgLru(const RgLruShape& shape, RgLruWeights weights);

  const RgLruShape& shape() const override { return shape_; }
  Factor mix(Step& step, const Factor& input) const override;
  at::Tensor reference_mix(ReferencePass& pass, int layer, const at::Tensor& x) const override;
  std::vector<LayerProduct> products() const override { return {{&weights_.in}}; }
  std::vector<double> decay_norms() const override { return weights_.decay_norms; }
  std::vector<EditableMatrix> editable() const override {
    return {whole_output(EditedMatrix::kWo, Site::kY, Site::kO)};
  }
  at::Tensor losing_state(const Block& block, at::Device device) const override;
  at::Tensor losing_taps(const Block& block, at::Device device) const override {
    return losing_state(block, device);  // both are of x
  }

 private:
  // x [.., width] after the convolution; first [.., 1] bool: the first token of its sequence.
  RgLruTokens tokens(const at::Tensor& x, const at::Tensor& first) const;
  at::Tensor gate(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) const;
  at::Tensor convolved(Step& step, const at::Tensor& a) const;

  RgLruShape shape_;
  RgLruWeights weights_;  // but the output's
};

}  // namespace factflow
