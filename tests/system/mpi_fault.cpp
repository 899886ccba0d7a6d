// Preloaded into factflow: lets one call of MPI fail, or garbles what a broadcast brings, on one
// rank.
//   FACTFLOW_MPI_FAULT       MPI_Comm_dup, MPI_Comm_size, MPI_Comm_free, ... or garble
//   FACTFLOW_MPI_FAULT_RANK  which rank
#define OMPI_SKIP_MPICXX 1
#include <cstdlib>
#include <cstring>

#include <mpi.h>

namespace {

constexpr int kLeastGarbled = 64;  // bytes: the job, not the length before it

bool meant(const char* call) {
  const char* fault = std::getenv("FACTFLOW_MPI_FAULT");
  const char* wanted = std::getenv("FACTFLOW_MPI_FAULT_RANK");
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  return fault != nullptr && wanted != nullptr && rank != nullptr &&
         std::strcmp(fault, call) == 0 && std::strcmp(wanted, rank) == 0;
}

}  // namespace

#define FAILING(call, parameters, arguments)                            \
  extern "C" int MPI_##call parameters {                                \
    return meant("MPI_" #call) ? MPI_ERR_OTHER : PMPI_##call arguments; \
  }

FAILING(Comm_dup, (MPI_Comm comm, MPI_Comm* copy), (comm, copy))
FAILING(Comm_rank, (MPI_Comm comm, int* rank), (comm, rank))
FAILING(Comm_size, (MPI_Comm comm, int* size), (comm, size))
FAILING(Comm_free, (MPI_Comm * comm), (comm))
FAILING(Comm_set_errhandler, (MPI_Comm comm, MPI_Errhandler handler), (comm, handler))
FAILING(Finalize, (), ())

extern "C" int MPI_Ibcast(void* bytes, int count, MPI_Datatype type, int root, MPI_Comm comm,
                          MPI_Request* request) {
  const int code = PMPI_Ibcast(bytes, count, type, root, comm, request);
  if (code != MPI_SUCCESS || count < kLeastGarbled || !meant("garble")) return code;
  PMPI_Wait(request, MPI_STATUS_IGNORE);
  std::memset(bytes, 0xff, static_cast<std::size_t>(count));
  return MPI_SUCCESS;
}
