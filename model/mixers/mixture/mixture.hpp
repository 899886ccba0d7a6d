#pragma once

#include <vector>

#include "model/mixers/mixer.hpp"
#include "model/mixers/mixture/mixture_shape.hpp"

namespace factflow {

struct Expert {
  Projection in;    // [inner, width], or gate above up: [2 inner, width]
  Projection down;  // [width, inner]
};

struct MixtureWeights {
  Projection router;            // [experts, hidden]
  at::Tensor choice = {};       // [experts], wide: what the choice adds to the scores; or undefined
  std::vector<Expert> experts;  // [experts]
  Expert shared = {};           // undefined without one
  Projection shared_gate = {};  // [1, hidden], or undefined
  Projection into_latent = {}, out_of_latent = {};  // [latent, hidden], [hidden, latent]
};

// Where the tokens of a matrix go.
struct Routes {
  at::Tensor experts;  // int64 [tokens, chosen]
  at::Tensor weights;  // wide [tokens, chosen]
};
// logits [.., experts], wide; choice as in MixtureWeights.
Routes routes_of(const at::Tensor& logits, const Routing& routing, const at::Tensor& choice);

// Computed by libtorch operations on any device: the columns that go to an expert are gathered and
// multiplied as one matrix, and how many these are is asked of the device once in every layer.
class Mixture final : public Mixer {
 public:
  Mixture(const MixtureShape& shape, MixtureWeights weights);

  const MixtureShape& shape() const override { return shape_; }
  // What is added to the stream, in wide numbers: there is no output projection behind it.
  Factor mix(Step& step, const Factor& input) const override;
  at::Tensor reference_mix(ReferencePass& pass, int layer, const at::Tensor& x) const override;
  // As a column meets them: the router, and as many experts as are chosen, which are all alike.
  std::vector<LayerProduct> products() const override;

 private:
  // [rows, width], wide.
  at::Tensor through(Step& step, const Expert& expert, const Factor& rows) const;
  at::Tensor reference_through(const Expert& expert, const at::Tensor& x) const;
  at::Tensor through_experts(Step& step, const Routes& routes, const Factor& input) const;

  MixtureShape shape_;
  MixtureWeights weights_;
};

}  // namespace factflow
