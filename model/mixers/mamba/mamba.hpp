#pragma once

#include <array>
#include <memory>
#include <vector>

#include "model/mixers/mamba/mamba_shape.hpp"
#include "model/mixers/mixer.hpp"

namespace factflow {

struct MambaWeights {
  Projection in;       // [2 inner, hidden]: x above z
  at::Tensor in_bias;  // in the type of activations, or undefined
  Convolution convolution;
  Projection parameters;  // [rank + 2 states, inner]: dt above B above C
  Projection time_step;   // [inner, rank]
  SelectiveScan scan;
  OutputProjection output;  // [hidden, inner]
  std::vector<double> decay_norms;
  std::array<at::Tensor, 3> parameter_norms =
      {};  // weights of the norms of dt, B and C; undefined: 1
};

class MambaMixer final : public Mixer {
 public:
  MambaMixer(const MambaShape& shape, MambaWeights weights);

  const MambaShape& shape() const override { return shape_; }
  Factor mix(Step& step, const Factor& input) const override;
  at::Tensor reference_mix(ReferencePass& pass, int layer, const at::Tensor& x) const override;
  std::vector<LayerProduct> products() const override;
  std::vector<double> decay_norms() const override { return weights_.decay_norms; }
  std::vector<EditableMatrix> editable() const override;
  at::Tensor losing_state(const Block& block, at::Device device) const override;
  at::Tensor losing_taps(const Block& block, at::Device device) const override {
    return losing_state(block, device);  // both are of x
  }

 private:
  struct TokenParameters {
    Factor low_rank;  // of dt, [columns, rank]
    at::Tensor b, c;  // [columns, states]
  };
  GateColumns open_gate(Step& step, at::Tensor z) const;
  void close_gate(Step& step, const GateColumns& gate, const Factor& x, const Factor& mixed) const;
  TokenParameters token_parameters(Step& step, const Factor& x) const;

  MambaShape shape_;
  MambaWeights weights_;  // but the output's
};

}  // namespace factflow
