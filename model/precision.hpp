// How numbers are held and multiplied; docs/precision.md has what each costs in accuracy.
#pragma once

#include <string>

#include <ATen/ATen.h>

namespace factflow {

// The residual stream, states and sums are float32 (float64 in fp64), and so are activations and
// logits but for bf16.
enum class Precision {
  // CPU.
  kFp64,
  // Everywhere.
  kFp32,
  // GPU: products of TF32 inputs, corrected by two bfloat16 products of what TF32 rounds off; close
  // to fp32.
  kTf32x3,
  // GPU: inputs of products rounded to 11 significant bits.
  kTf32,
  // GPU: activations and inputs of products in bfloat16 (8 significant bits), but what the head
  // multiplies and its logits in float16 (11 bits).
  kBf16
};

Precision parse_precision(const std::string& name);  // throws InputError
std::string to_string(Precision precision);
at::ScalarType activation_type(Precision precision);  // of what is between two products
at::ScalarType wide_type(Precision precision);        // of weights, the residual stream and states
// Of what the head multiplies and the logits it gives.
at::ScalarType head_type(Precision precision);
// Bytes of one number of an activation, and of one that a product multiplies (model/workspace.hpp).
std::int64_t activation_bytes(Precision precision);
std::int64_t factor_bytes(Precision precision);
// Of one weight on its device, at most.
std::int64_t weight_bytes(Precision precision);
// Throws InputError if the device, or this build's libtorch, cannot compute so.
void check_precision(at::Device device, Precision precision);

}  // namespace factflow
