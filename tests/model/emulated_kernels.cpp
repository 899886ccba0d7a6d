// The CUDA kernels, compiled as plain C++ against the emulation in cuda_emulation/, under names of
// their own.
#define cuda_kernels emulated_kernels
#define cuda_factor emulated_factor
#include "model/kernels/cuda_kernels.cu"
