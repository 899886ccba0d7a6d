// A mixer with its weights, as the engine and the reference forward compute it.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "model/editable_matrix.hpp"
#include "model/mixers/mixer_shape.hpp"
#include "model/ops.hpp"
#include "model/projection.hpp"

namespace factflow {

class ReferencePass;

// How a mixer's result gets to the width of the residual stream.
struct OutputProjection {
  // [hidden, width of what mix() gives]; undefined: that is the output itself, [columns, hidden] of
  // wide numbers.
  Projection weight;
  at::Tensor bias = {};  // [hidden], wide, or undefined
  // Whether the norms above add the bias instead (model/network.cpp).
  bool bias_in_norms = false;
};

// Immutable; safe for several threads.
class Mixer {
 public:
  virtual ~Mixer() = default;
  Mixer(const Mixer&) = delete;
  Mixer& operator=(const Mixer&) = delete;

  virtual const MixerShape& shape() const = 0;
  // What the output projection multiplies, [columns, width], in buffers of the workspace. input
  // [columns, hidden]: the normalised stream.
  virtual Factor mix(Step& step, const Factor& input) const = 0;
  // The same in plain libtorch operations, differentiable, with interventions materialised. x
  // [.., tokens, hidden], and all numbers are of its type.
  virtual at::Tensor reference_mix(ReferencePass& pass, int layer, const at::Tensor& x) const = 0;
  const OutputProjection& output() const { return output_; }

  // The products of mix() with every column, in order. For cost models and benchmarks.
  virtual std::vector<LayerProduct> products() const = 0;
  // By which channel sets choose, of each of shape().channels(): L1 norm of exp(-exp(A_log)), in
  // float64; section 3.3 of the paper.
  virtual std::vector<double> decay_norms() const { return {}; }
  // [width] bool: which channels or heads, or which of what enters the convolution, lose the edges
  // that a block cuts there. Throws std::invalid_argument for an index that there is not. Of mixers
  // of tokens alone.
  virtual at::Tensor losing_state(const Block& block, at::Device device) const;
  virtual at::Tensor losing_taps(const Block& block, at::Device device) const;
  // What shape().matrices() names, in the same order.
  virtual std::vector<EditableMatrix> editable() const { return {}; }

 protected:
  explicit Mixer(OutputProjection output) : output_(std::move(output)) {}
  // The output projection as a matrix to edit.
  EditableMatrix whole_output(EditedMatrix name, Site key, Site value) const;

 private:
  OutputProjection output_;
};

}  // namespace factflow
