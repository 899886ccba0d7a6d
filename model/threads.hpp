// The host's threads and its matrix library: how many, which, and whether they help.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace factflow {

// Threads of this process for matrix products and kernels: `threads`, or with 0 the cores that it
// may use, at most its share of those that the launcher of the node's `local_size` ranks has.
// Returns the number chosen.
int set_threads(int threads, int local_size);

// One line of advice for each thing that makes computing on the host slower than it need be: ranks
// bound to too few cores, the reference BLAS, an OpenBLAS whose threads get in the way of the
// kernels', one told to do without the processor's instructions, threads that do not help. Measures
// for about 50 ms if there are several threads (set_threads).
std::vector<std::string> slowness_warnings(int local_size);

// Advice if OPENBLAS_CORETYPE made OpenBLAS choose `core` (its own name, "Haswell") although the
// processor's widest vectors are `bits` wide; else "".
std::string core_type_warning(std::string_view core, int bits);

// Seconds of a mixture like a sweep's, matrix products between kernels, on so many threads: the
// best of several. Leaves the number of threads at `threads`.
double seconds_of_mixture(int threads);

std::string library_versions();  // "libtorch 1.13.1, OpenBLAS 0.3.21"

}  // namespace factflow
