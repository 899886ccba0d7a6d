#pragma once

#include <vector>

#include "model/mixers/gated_delta/gated_delta_shape.hpp"
#include "model/mixers/mixer.hpp"

namespace factflow {

struct GatedDeltaWeights {
  Projection in;            // [shape.projected(), hidden]: q, k, v, z, b, a
  Convolution convolution;  // over q, k and v; without bias
  at::Tensor a;             // [value heads] -exp(A_log)
  at::Tensor dt_bias;       // [value heads]
  at::Tensor norm;          // [value size]
  double norm_epsilon = 1e-6;
  OutputProjection output;  // [hidden, values]
  std::vector<double> decay_norms;
};

// What the recurrence takes of some tokens, wide: queries and keys of each value head, normalised,
// [.., value heads, key size]; values [.., value heads, value size]; beta, decay [.., value heads].
struct DeltaTokens {
  at::Tensor queries, keys, values, beta, decay;
};

class GatedDelta final : public Mixer {
 public:
  GatedDelta(const GatedDeltaShape& shape, GatedDeltaWeights weights);

  const GatedDeltaShape& shape() const override { return shape_; }
  Factor mix(Step& step, const Factor& input) const override;
  at::Tensor reference_mix(ReferencePass& pass, int layer, const at::Tensor& x) const override;
  std::vector<LayerProduct> products() const override { return {{&weights_.in}}; }
  std::vector<double> decay_norms() const override { return weights_.decay_norms; }
  std::vector<EditableMatrix> editable() const override {
    return {whole_output(EditedMatrix::kWo, Site::kY, Site::kO)};
  }
  at::Tensor losing_state(const Block& block, at::Device device) const override;
  at::Tensor losing_taps(const Block& block, at::Device device) const override;

 private:
  // qkv [.., conv channels] after the convolution; b, a [.., value heads].
  DeltaTokens tokens(const at::Tensor& qkv, const at::Tensor& b, const at::Tensor& a) const;
  // What columns with interventions lose beside their row's cut; by libtorch operations.
  void recompute(Step& step, const at::Tensor& qkv, const at::Tensor& b, const at::Tensor& a,
                 const at::Tensor& s) const;
  // Where the gate is read or written: y from one that is apart.
  void gate_apart(Step& step, const at::Tensor& s, const at::Tensor& z, const Factor& y) const;
  // s, g [.., values]: norm of each head, then gate.
  at::Tensor gated(const at::Tensor& s, const at::Tensor& g) const;

  GatedDeltaShape shape_;
  GatedDeltaWeights weights_;  // but the output's
  DeltaRule rule_;
  GatedNorm gated_norm_;
};

}  // namespace factflow
