// What the environment says of who started this process, as far as it is still true: the variables
// of mpirun and srun outlive them, in the shells, notebooks and terminals that were started from
// there.
#pragma once

namespace factflow {

// Whether mpirun of Open MPI, or srun with one of its MPI plugins, started this process and still
// serves it.
bool under_mpi_launcher();

// How many tasks the srun has that started this process or one that it comes from; 1 without one.
int tasks_of_srun();

}  // namespace factflow
