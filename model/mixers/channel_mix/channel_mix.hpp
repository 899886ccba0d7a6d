#pragma once

#include <vector>

#include "model/mixers/channel_mix/channel_mix_shape.hpp"
#include "model/mixers/mixer.hpp"

namespace factflow {

struct ChannelMixWeights {
  at::Tensor mix;           // [hidden] with the token before
  Projection key;           // [inner, hidden]
  OutputProjection output;  // [hidden, inner]
};

// Computed by libtorch operations on any device.
class ChannelMix final : public Mixer {
 public:
  ChannelMix(const ChannelMixShape& shape, ChannelMixWeights weights);

  const ChannelMixShape& shape() const override { return shape_; }
  Factor mix(Step& step, const Factor& input) const override;
  at::Tensor reference_mix(ReferencePass& pass, int layer, const at::Tensor& x) const override;
  std::vector<LayerProduct> products() const override {
    return {{&weights_.key, LayerProduct::Into::kWide}};
  }
  std::vector<EditableMatrix> editable() const override {
    return {whole_output(EditedMatrix::kWdown, Site::kMlpHidden, Site::kMlp)};
  }

 private:
  ChannelMixShape shape_;
  ChannelMixWeights weights_;  // but the output's
};

}  // namespace factflow
