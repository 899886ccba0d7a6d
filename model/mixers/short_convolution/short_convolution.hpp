#pragma once

#include <vector>

#include "model/mixers/mixer.hpp"
#include "model/mixers/short_convolution/short_convolution_shape.hpp"

namespace factflow {

struct ShortConvolutionWeights {
  Projection in;            // [3 width, hidden]: B, C, x
  at::Tensor in_bias;       // in the type of activations, or undefined
  Convolution convolution;  // over B * x
  OutputProjection output;  // [hidden, width]
};

class ShortConvolution final : public Mixer {
 public:
  ShortConvolution(const ShortConvolutionShape& shape, ShortConvolutionWeights weights);

  const ShortConvolutionShape& shape() const override { return shape_; }
  Factor mix(Step& step, const Factor& input) const override;
  at::Tensor reference_mix(ReferencePass& pass, int layer, const at::Tensor& x) const override;
  std::vector<LayerProduct> products() const override { return {{&weights_.in}}; }
  std::vector<EditableMatrix> editable() const override {
    return {whole_output(EditedMatrix::kWo, Site::kY, Site::kO)};
  }
  at::Tensor losing_state(const Block& block, at::Device device) const override;

 private:
  // a [columns, width], without the taps that columns lose.
  at::Tensor convolved(Step& step, const at::Tensor& a) const;

  ShortConvolutionShape shape_;
  ShortConvolutionWeights weights_;  // but the output's
};

}  // namespace factflow
