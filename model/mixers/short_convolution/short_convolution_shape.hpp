// A gated convolution over a few tokens, by itself the mixer of a layer (LFM2).
#pragma once

#include "model/mixers/mixer_shape.hpp"

namespace factflow {

// y = C * conv(B * x), without an activation. An edge is a tap, of all channels; a source out of
// their reach has none.
struct ShortConvolutionShape final : MixerShape {
  int width = 0;  // of B, C and x each
  int conv_kernel = 3;
  bool bias = false;  // of all three: both projections and the convolution

  std::string name() const override { return "short_convolution"; }
  std::string in_words() const override;
  int reach() const override { return conv_kernel; }
  std::string edges_in_words() const override { return "taps: of all channels"; }
  std::vector<ColumnBuffer> buffers(Precision precision) const override;
  std::vector<Site> sites() const override {
    return {Site::kA, Site::kS, Site::kG, Site::kY, Site::kO};
  }
  std::int64_t site_width(Site site) const override { return site == Site::kO ? 0 : width; }
  std::vector<MatrixShape> matrices() const override {
    return {{EditedMatrix::kWo, Site::kY, Site::kO}};
  }
  void check_block(const Block& block) const override;
};

}  // namespace factflow
