// The layer of Mamba-1 and Falcon-Mamba.
#pragma once

#include <vector>

#include <ATen/ATen.h>

#include "model/ops.hpp"
#include "model/projection.hpp"

namespace factflow {

struct MambaLayer {
  Norm norm;
  Projection in;  // [2 inner, hidden]: x above z
  Convolution convolution;
  Projection parameters;  // [rank + 2 states, inner]: dt above B above C
  Projection time_step;   // [inner, rank]
  SelectiveScan scan;
  Projection out;  // [hidden, inner]
  at::Tensor in_bias, out_bias;
  std::vector<double> decay_norms;
};

}  // namespace factflow
