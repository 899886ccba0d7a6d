// Which table of kernels goes with a device and a number type.
#pragma once

#include <stdexcept>
#include <type_traits>

#include <ATen/ATen.h>

#include "model/kernel_views.hpp"
#include "model/kernels/interventions.hpp"
#include "model/workspace.hpp"

namespace factflow {

template <class T>
const kernels::KernelTable<T>& table_for(at::Device device) {
#ifdef FACTFLOW_CUDA
  if constexpr (!std::is_same_v<T, double>)
    if (device.is_cuda()) return kernels::cuda_kernels<T>();
#endif
  if constexpr (!std::is_same_v<T, kernels::Bfloat16>)
    if (device.is_cpu()) return kernels::cpu_kernels<T>();
  throw std::logic_error("no kernels for this device and number type");
}

template <class T>
const kernels::InterventionTable<T>& interventions_for(at::Device device) {
#ifdef FACTFLOW_CUDA
  if constexpr (!std::is_same_v<T, double>)
    if (device.is_cuda()) return kernels::cuda_interventions<T>();
#endif
  if constexpr (!std::is_same_v<T, kernels::Bfloat16>)
    if (device.is_cpu()) return kernels::cpu_interventions<T>();
  throw std::logic_error("no kernels for this device and number type");
}

// Of numbers of type T at a site; those of Float16 are what bf16's head multiplies.
template <class T>
const kernels::SiteKernels<T>& site_kernels(at::Device device) {
  if constexpr (std::is_same_v<T, kernels::Float16>)
    return interventions_for<kernels::Bfloat16>(device).final_site;
  else
    return interventions_for<T>(device).site;
}

// Calls function(T{}) with the number type of activations.
template <class Function>
void with_type(at::ScalarType type, Function function) {
  if (type == at::kDouble) return function(double{});
  if (type == at::kFloat) return function(float{});
  if (type == at::kBFloat16) return function(kernels::Bfloat16{});
  throw std::logic_error("no kernels for this number type");
}

// The same for a factor, whose parts are of float32 activations, and which may be the head's.
template <class Function>
void with_factor_type(const Factor& factor, Function function) {
  const at::ScalarType type = factor.numbers.defined() ? factor.numbers.scalar_type() : at::kFloat;
  if (type == at::kHalf) return function(kernels::Float16{});
  with_type(type, function);
}

}  // namespace factflow
