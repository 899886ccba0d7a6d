// The computations of a replay that are not matrix products, as one table of functions per device
// and number type.
//
// Plain pointers and plain C++ on purpose: the CUDA table is compiled without libtorch headers, and
// the CPU table is compiled once per instruction set.
#pragma once

#include <cstdint>

#include "model/kernels/arguments.hpp"
#include "model/kernels/rows.hpp"

namespace factflow::kernels {

// Clean columns must be complete before replayed ones are started: scan(), delta(),
// dplr_delta() and linear_scan() do both, in this order.
template <class T>
struct KernelTable {
  void (*norm)(const Rows&, const NormArgs<T>&);
  void (*final_norm)(const Rows&, const NormArgs<Head<T>>&);
  void (*conv)(const Rows&, const ConvArgs<T>&);
  void (*scan)(const Rows&, const ScanArgs<T>&);
  void (*dual)(const Rows&, const DualArgs<T>&);
  void (*delta)(const Rows&, const DeltaArgs<T>&);
  void (*dplr_delta)(const Rows&, const DplrDeltaArgs<Wide<T>>&);
  void (*linear_scan)(const Rows&, const LinearScanArgs<Wide<T>>&);
  void (*filter)(const Rows&, const FilterArgs<Wide<T>>&);
  void (*gated_norm)(const Rows&, const GatedNormArgs<T>&);
  void (*rotary)(const Rows&, const RotaryArgs<T>&);
  void (*attention)(const Rows&, const AttentionArgs<T>&);
  void (*activation)(const Rows&, const ActivationArgs<T>&);
  void (*gather)(const Rows&, const GatherArgs<Wide<T>>&);
  void (*answer)(const Rows&, const AnswerArgs<Head<T>>&);
};

// The table for this processor: the widest instruction set that it has.
template <class T>
const KernelTable<T>& cpu_kernels();
const char* cpu_instruction_set();  // "avx512", "avx2", "generic"
// For tests, process-wide: other kernels of float, kept by the caller, in place of the processor's;
// null: the processor's again.
void replace_cpu_kernels(const KernelTable<float>* table);

// The table for CUDA devices, in builds with FACTFLOW_CUDA; T is float or Bfloat16. Works on the
// stream of Rows and does not wait for it.
template <class T>
const KernelTable<T>& cuda_kernels();

// Writes x [rows, width] as a factor: rounded to bfloat16, or in the parts of tf32x3.
template <class T>
void cuda_factor(const Rows& rows, const Matrix<const float>& x, const Factor<T>& out,
                 std::int64_t count, std::int64_t width);

}  // namespace factflow::kernels
