// The CUDA table. Plain CUDA without libtorch headers: it compiles wherever nvcc is, and is compared with the CPU table by
// tests/model and by `factflow verify --device cuda`. Products of matrices are libtorch's.
#include "model/kernels/cuda_attention.cuh"
#include "model/kernels/cuda_dual.cuh"
#include "model/kernels/cuda_rows.cuh"
#include "model/kernels/cuda_scan.cuh"
#include "model/kernels/cuda_split.cuh"

namespace factflow::kernels {

const KernelTable<float>& cuda_kernels() {
  static const KernelTable<float> table{norm, conv, scan, dual, gated_norm, rotary, attention, activation, gather, answer};
  return table;
}

void cuda_split(const Rows& rows, const SplitArgs& args) { split(rows, args); }

}  // namespace factflow::kernels
