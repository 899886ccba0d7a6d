// Picks the CPU table for the processor that runs.
#include "model/kernels/interventions.hpp"
#include "model/kernels/kernels.hpp"

#define FACTFLOW_DECLARE(isa)                              \
  namespace isa {                                          \
  const KernelTable<float>& float_table();                 \
  const KernelTable<double>& double_table();               \
  const InterventionTable<float>& float_interventions();   \
  const InterventionTable<double>& double_interventions(); \
  }

namespace factflow::kernels {

FACTFLOW_DECLARE(generic)
#ifdef FACTFLOW_X86
FACTFLOW_DECLARE(avx2)
FACTFLOW_DECLARE(avx512)
#endif

namespace {

const KernelTable<float>* replacement = nullptr;

enum class InstructionSet { kGeneric, kAvx2, kAvx512 };

InstructionSet detect() {
#ifdef FACTFLOW_X86
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    return InstructionSet::kAvx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return InstructionSet::kAvx2;
#endif
  return InstructionSet::kGeneric;
}

InstructionSet instruction_set() {
  static const InstructionSet detected = detect();
  return detected;
}

}  // namespace

#ifdef FACTFLOW_X86
#define FACTFLOW_PICK(function)    \
  switch (instruction_set()) {     \
    case InstructionSet::kAvx512:  \
      return avx512::function();   \
    case InstructionSet::kAvx2:    \
      return avx2::function();     \
    case InstructionSet::kGeneric: \
      break;                       \
  }                                \
  return generic::function();
#else
#define FACTFLOW_PICK(function) return generic::function();
#endif

void replace_cpu_kernels(const KernelTable<float>* table) {
  replacement = table;
}

template <>
const KernelTable<float>& cpu_kernels<float>() {
  if (replacement != nullptr) return *replacement;
  FACTFLOW_PICK(float_table)
}

template <>
const KernelTable<double>& cpu_kernels<double>() {
  FACTFLOW_PICK(double_table)
}

template <>
const InterventionTable<float>& cpu_interventions<float>() {
  FACTFLOW_PICK(float_interventions)
}

template <>
const InterventionTable<double>& cpu_interventions<double>() {
  FACTFLOW_PICK(double_interventions)
}

const char* cpu_instruction_set() {
  switch (instruction_set()) {
    case InstructionSet::kAvx512:
      return "avx512";
    case InstructionSet::kAvx2:
      return "avx2";
    case InstructionSet::kGeneric:
      return "generic";
  }
  return "generic";
}

}  // namespace factflow::kernels
