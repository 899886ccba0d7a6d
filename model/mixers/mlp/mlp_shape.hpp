// The MLP, plain or gated: down(act(up x)) or down(act(gate x) * up x).
#pragma once

#include "model/kernels/kernels.hpp"
#include "model/mixers/mixer_shape.hpp"

namespace factflow {

struct MlpShape final : MixerShape {
  int inner = 0;
  bool gated = false;
  bool bias = false;  // whether the checkpoint has biases
  kernels::Activation activation = kernels::Activation::kSilu;

  std::string name() const override { return "mlp"; }
  std::string in_words() const override;
  std::string edges_in_words() const override { return ""; }
  bool mixes_tokens() const override { return false; }
  std::vector<ColumnBuffer> buffers(Precision precision) const override;
  std::vector<Site> sites() const override { return {Site::kMlpIn, Site::kMlpHidden, Site::kMlp}; }
  std::int64_t site_width(Site site) const override { return site == Site::kMlpHidden ? inner : 0; }
  void check_block(const Block& block) const override;
};

}  // namespace factflow
