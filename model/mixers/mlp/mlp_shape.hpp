// The MLP, plain or gated: down(act(up x)) or down(act(factor gate x) * up x).
#pragma once

#include "model/kernels/kernels.hpp"
#include "model/mixers/mixer_shape.hpp"

namespace factflow {

struct MlpShape final : MixerShape {
  int inner = 0;
  bool gated = false;
  bool bias = false;  // whether the checkpoint has biases
  kernels::Activation activation = kernels::Activation::kSilu;
  bool squared = false;    // down(act(up x) up x): squared ReLU. Not gated
  double gate_factor = 1;  // of the gate before its activation; put into the weights at loading

  std::string name() const override { return "mlp"; }
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
