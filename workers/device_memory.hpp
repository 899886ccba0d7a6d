// How much memory there is at all, whatever of it is free now: what can never fit is told at once.
#pragma once

#include <cstdint>

#include <ATen/ATen.h>

namespace factflow {

// Bytes of a GPU, less what its driver keeps.
std::int64_t device_memory(at::Device gpu);

// Bytes that this process can have: of the machine with its swap space, of the control groups that
// it is in (SLURM, containers), and of its limits (ulimit -v, -d).
std::int64_t host_memory();

}  // namespace factflow
