// The CUDA table. Plain CUDA without libtorch headers: it compiles wherever nvcc is, and is
// compared with the CPU table by tests/model and by `factflow verify --device cuda`. Products of
// matrices are libtorch's.
#include "model/kernels/cuda_attention.cuh"
#include "model/kernels/cuda_delta.cuh"
#include "model/kernels/cuda_dplr.cuh"
#include "model/kernels/cuda_dual.cuh"
#include "model/kernels/cuda_interventions.cuh"
#include "model/kernels/cuda_linear.cuh"
#include "model/kernels/cuda_rows.cuh"
#include "model/kernels/cuda_scan.cuh"
#include "model/kernels/cuda_split.cuh"

namespace factflow::kernels {

namespace {

template <class T>
constexpr SiteKernels<T> kSites{site_write<T>, site_read<T>, site_mean<T>};
template <class T>
constexpr InterventionTable<T> kInterventions{
    {gate_open<T>, gate_take<T>, gate_close<T>},
    kSites<T>,
    kSites<Head<T>>,
    {conv_cut<T>, scan_cut<T>, dual_cut<T>, attention_cut<T>}};

template <class T>
constexpr KernelTable<T> kTable{norm<T>,       norm<Head<T>>, conv<T>,        scan<T>,
                                dual<T>,       delta<T>,      dplr_delta,     linear_scan<float>,
                                filter<float>, gated_norm<T>, rotary<T>,      attention<T>,
                                activation<T>, gather,        answer<Head<T>>};

}  // namespace

template <>
const KernelTable<float>& cuda_kernels<float>() {
  return kTable<float>;
}
template <>
const KernelTable<Bfloat16>& cuda_kernels<Bfloat16>() {
  return kTable<Bfloat16>;
}

template <>
const InterventionTable<float>& cuda_interventions<float>() {
  return kInterventions<float>;
}
template <>
const InterventionTable<Bfloat16>& cuda_interventions<Bfloat16>() {
  return kInterventions<Bfloat16>;
}

template <>
void cuda_factor(const Rows& rows, const Matrix<const float>& x, const Factor<float>& out,
                 std::int64_t count, std::int64_t width) {
  write_factor(rows, x, out, count, width);
}
template <>
void cuda_factor(const Rows& rows, const Matrix<const float>& x, const Factor<Bfloat16>& out,
                 std::int64_t count, std::int64_t width) {
  write_factor(rows, x, out, count, width);
}

}  // namespace factflow::kernels
