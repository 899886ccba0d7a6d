// How numbers are held and multiplied; docs/precision.md has what each costs in accuracy.
#pragma once

#include <string>

#include <ATen/ATen.h>

namespace factflow {

enum class Precision {
  kFp64,    // CPU
  kFp32,    // everywhere
  kTf32x3,  // GPU: products of TF32 inputs, corrected by two bfloat16 products of what TF32 rounds off; close to fp32
  kTf32,    // GPU: inputs of products rounded to 11 significant bits
  kBf16     // GPU: inputs of products rounded to 8 significant bits
};  // everything outside the matrix products is float32 (float64 in fp64)

Precision parse_precision(const std::string& name);  // throws InputError
std::string to_string(Precision precision);
at::ScalarType activation_type(Precision precision);
// Throws InputError if the device, or this build's libtorch, cannot compute so.
void check_precision(at::Device device, Precision precision);

}  // namespace factflow
