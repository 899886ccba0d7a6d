// Kernels that are wrong, to see that somebody notices.
#pragma once

#include "model/kernels/kernels.hpp"

namespace factflow {

// The processor's, but for Mamba-2's dual form as commit e4b056d had it on a GPU.
kernels::KernelTable<float> kernels_with_faulty_dual();

}  // namespace factflow
