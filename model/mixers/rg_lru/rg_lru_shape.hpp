// The real-gated linear recurrent unit behind a convolution (De et al. 2024), as RecurrentGemma has
// it.
#pragma once

#include "model/mixers/mixer_shape.hpp"

namespace factflow {

// h <- a h + sqrt(1 - a^2) i x on each channel, the first token's input whole; y = h * gelu(gate).
// An edge through the state is the entry of the token-mixing matrix, through the convolution, which
// has no activation, its tap; either can be restricted to channels.
struct RgLruShape final : MixerShape {
  int width = 0;   // channels
  int blocks = 1;  // of the gates' block-diagonal matrices
  int conv_kernel = 4;

  std::string name() const override { return "rg_lru"; }
  std::string in_words() const override;
  std::string edges_in_words() const override {
    return "state, convolution: of all channels, of a set by decay, or of a list";
  }
  int channels() const override { return width; }
  int taps() const override { return conv_kernel; }
  bool keeps_states() const override { return true; }
  SlotBytes slot_bytes(Precision precision) const override;
  std::vector<ColumnBuffer> buffers(Precision precision) const override;
  std::vector<Site> sites() const override {
    return {Site::kA, Site::kConv, Site::kS, Site::kG, Site::kY, Site::kO};
  }
  std::int64_t site_width(Site site) const override { return site == Site::kO ? 0 : width; }
  std::vector<MatrixShape> matrices() const override {
    return {{EditedMatrix::kWo, Site::kY, Site::kO}};
  }
  void check_block(const Block& block) const override;
};

}  // namespace factflow
