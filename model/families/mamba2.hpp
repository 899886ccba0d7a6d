// The layer of Mamba-2.
#pragma once

#include <vector>

#include <ATen/ATen.h>

#include "model/ops.hpp"
#include "model/projection.hpp"

namespace factflow {

struct Mamba2Layer {
  Norm norm;
  // [2 mlp + 2 inner + 2 groups states + heads, hidden]: mlp gate, mlp, z, x, B, C, dt.
  Projection in;
  Convolution convolution;  // over x, B and C
  StateSpaceDual dual;
  GatedNorm gated_norm;
  Projection out;  // [hidden, mlp + inner]
  at::Tensor in_bias, out_bias;
  std::vector<double> decay_norms;
};

}  // namespace factflow
