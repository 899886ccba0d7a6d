// The selective scan of many prompts side by side, token after token: what its materialised form
// (reference.cpp) gives where no edge is cut, for as many times less work as there are tokens.
#pragma once

#include <ATen/ATen.h>

namespace factflow {

// Of a batch of rows. Gu & Dao 2024, section 3.2.
struct ScanInputs {
  at::Tensor written;  // [rows, tokens, channels] dt x
  at::Tensor dt;       // [rows, tokens, channels] after softplus
  at::Tensor b, c;     // [rows, tokens, states]
};

// y [rows, tokens, channels] without the skip: y_t = C_t h_t, h_t = exp(dt_t A) h_(t-1) + B_t dt_t
// x_t, with a [states, channels], a constant. Differentiable; holds tokens x states x channels
// numbers a row for that.
at::Tensor recurred(const ScanInputs& inputs, const at::Tensor& a);

}  // namespace factflow
