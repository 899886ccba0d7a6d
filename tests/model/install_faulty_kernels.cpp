// Makes a program compute Mamba-2 wrongly.
#include "faulty_kernels.hpp"

namespace factflow {
namespace {

const kernels::KernelTable<float> faulty = kernels_with_faulty_dual();
[[maybe_unused]] const bool installed = [] {
  kernels::replace_cpu_kernels(&faulty);
  return true;
}();

}  // namespace
}  // namespace factflow
