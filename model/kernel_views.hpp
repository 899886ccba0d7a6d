// Tensors as the plain pointers that kernels take.
#pragma once

#include <type_traits>

#include <ATen/ATen.h>

#include "model/kernels/kernels.hpp"
#include "model/workspace.hpp"

namespace factflow {

template <class T>
T* data_of(const at::Tensor& t) {
  if constexpr (std::is_same_v<T, kernels::Bfloat16>)
    return reinterpret_cast<T*>(t.data_ptr<at::BFloat16>());
  else if constexpr (std::is_same_v<T, kernels::Float16>)
    return reinterpret_cast<T*>(t.data_ptr<at::Half>());
  else
    return t.data_ptr<T>();
}

// A matrix whose last dimension is contiguous.
template <class T>
kernels::Matrix<T> output(const at::Tensor& t) {
  TORCH_INTERNAL_ASSERT(t.dim() == 2 && (t.stride(1) == 1 || t.size(1) == 1));
  return {data_of<T>(t), t.stride(0)};
}

template <class T>
kernels::Matrix<const T> input(const at::Tensor& t) {
  const kernels::Matrix<T> matrix = output<T>(t);
  return {matrix.data, matrix.stride};
}

template <class T>
kernels::Factor<T> output(const Factor& factor) {
  kernels::Factor<T> out;
  if (factor.numbers.defined()) static_cast<kernels::Matrix<T>&>(out) = output<T>(factor.numbers);
  if (!factor.high.defined()) return out;
  out.high = output<float>(factor.high);
  out.parts = output<kernels::Bfloat16>(factor.parts);
  out.width = factor.distance;
  return out;
}

// Null for an undefined tensor.
template <class T>
const T* pointer(const at::Tensor& t) {
  if (!t.defined()) return nullptr;
  TORCH_INTERNAL_ASSERT(t.is_contiguous());
  return data_of<T>(t);
}

}  // namespace factflow
