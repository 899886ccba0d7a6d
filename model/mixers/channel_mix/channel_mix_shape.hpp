// RWKV's channel mixing: an MLP with squared ReLU behind a token shift.
#pragma once

#include "model/mixers/mixer_shape.hpp"

namespace factflow {

// value(relu(key(x + (before - x) mix))^2). It reads the token before and has no edges to cut.
struct ChannelMixShape final : MixerShape {
  int hidden = 0, inner = 0;

  std::string name() const override { return "channel_mix"; }
  std::string in_words() const override;
  std::string edges_in_words() const override { return ""; }
  bool mixes_tokens() const override { return false; }
  std::vector<ColumnBuffer> buffers(Precision precision) const override;
  std::vector<Site> sites() const override { return {Site::kMlpIn, Site::kMlpHidden, Site::kMlp}; }
  std::int64_t site_width(Site site) const override { return site == Site::kMlpHidden ? inner : 0; }
  std::vector<MatrixShape> matrices() const override {
    return {{EditedMatrix::kWdown, Site::kMlpHidden, Site::kMlp}};
  }
  void check_block(const Block& block) const override;
};

}  // namespace factflow
